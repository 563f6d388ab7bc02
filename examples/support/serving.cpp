// SPDX-License-Identifier: MIT
#include "support/serving.hpp"

#include "support/task_data.hpp"

#include <graft/core/error.hpp>
#include <graft/io/adapter.hpp>
#include <graft/io/json.hpp>
#include <graft/train/question_answering.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <initializer_list>
#include <iterator>
#include <sstream>

namespace programs {

namespace fs = std::filesystem;
using graft::task_kind;

namespace {

// The object that a body is, if it has no keys but those.
nlohmann::json object_of(std::string_view body, std::initializer_list<std::string_view> keys) {
  nlohmann::json object = graft::parse_json(body, "request");
  if (!object.is_object())
    throw graft::input_error("request: expected an object");
  for (const auto& entry : object.items())
    if (std::find(keys.begin(), keys.end(), entry.key()) == keys.end())
      throw graft::input_error("request: " + graft::detail::in_quotes(entry.key()) +
                               ": expected no such key");
  return object;
}

// What f returns; its errors become refusals.
template <class F>
auto or_bad_request(F&& f) {
  try {
    return f();
  } catch (const graft::error& e) {
    throw refusal(400, graft::text_of(e));
  }
}

}  // namespace

predict_request parse_request(std::string_view body, std::size_t most) {
  return or_bad_request([&] {
    const std::string place = "request";
    const auto object = object_of(body, {"adapter", "texts", "pairs"});
    predict_request request;
    request.adapter = graft::get<std::optional<std::string>>(object, "adapter", place);
    const bool pairs = object.contains("pairs");
    if (pairs == object.contains("texts"))
      throw graft::input_error("request: expected either \"texts\" or \"pairs\"");
    const auto& list = object[pairs ? "pairs" : "texts"];
    if (list.is_array() && list.size() > most)
      throw refusal(413, "expected at most " + std::to_string(most) + " texts, found " +
                             std::to_string(list.size()));
    if (!pairs) {
      for (auto& text : graft::get<std::vector<std::string>>(object, "texts", place))
        request.texts.push_back({std::move(text), {}});
      return request;
    }
    for (auto& pair : graft::get<std::vector<std::vector<std::string>>>(object, "pairs", place)) {
      if (pair.size() != 2)
        throw graft::input_error("request: pairs[" + std::to_string(request.texts.size()) +
                                 "]: expected 2 texts, found " + std::to_string(pair.size()));
      request.texts.push_back({std::move(pair[0]), std::move(pair[1])});
    }
    return request;
  });
}

std::string parse_folder(std::string_view body) {
  return or_bad_request(
      [&] { return graft::get<std::string>(object_of(body, {"folder"}), "folder", "request"); });
}

std::string folder_below(const std::string& root, const std::string& path) {
  const fs::path relative(path);
  const bool inside = !path.empty() && path.find('\0') == std::string::npos &&
                      !relative.has_root_path() &&
                      std::find(relative.begin(), relative.end(), "..") == relative.end();
  if (!inside)
    throw refusal(403, "folder: expected a relative path without \"..\"");
  std::error_code failure;
  const fs::path top = fs::canonical(root, failure);
  const fs::path folder = failure ? fs::path() : fs::canonical(top / relative, failure);
  if (failure)
    throw refusal(404, "folder: expected one below that of --allow-adapters, found none");
  if (std::mismatch(top.begin(), top.end(), folder.begin(), folder.end()).first != top.end())
    throw refusal(403,
                  "folder: expected one below that of --allow-adapters, found a link out of it");
  if (!fs::is_directory(folder, failure))
    throw refusal(404, "folder: expected one below that of --allow-adapters, found no folder");
  return folder.string();
}

void check_adapter_name(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 100 &&
                    name.find_first_not_of(
                        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789._-") == std::string::npos;
  if (!good)
    throw refusal(400,
                  "adapter: expected a name of 1 to 100 letters, digits, '.', '_' and '-', found " +
                      graft::detail::in_quotes(name));
}

// The sequences of a request's texts, in their order.
struct service::encoded_request {
  graft::example_list examples;
  std::vector<bool> cut;                    // did each text have more than is read?
  std::vector<graft::encoded_words> words;  // … for token classification
  // … for question answering, where a text has a sequence for each window
  std::vector<graft::question> questions;
  std::vector<std::vector<graft::byte_range>> places;  // of the tokens of each context
  std::vector<graft::answer_place> windows;            // of each sequence
};

service::service(const serving_options& options)
    : options_(options), bank_(open_bank(options.with, options.model)), queue_(options.limits) {
  encoder_ = text_encoder::open(options.model, bank_->config(), bank_->longest(), 0);
  try {
    const graft::example e{.ids = encoder_.words.encode("", encoder_.longest).ids};
    bank_->predict(std::vector{e}, std::vector{bank::handle()});
    base_ = served_from(nullptr, options.model);
  } catch (const graft::input_error&) {
    // It has no head, and answers under adapters only.
  }
}

service::served_handle service::served_from(const bank::handle& under,
                                            const std::string& folder) const {
  const held_adapter asked = under ? *under : bank_->base();
  served s{under, asked.task, asked.labels};
  if (s.labels.empty())  // as Hugging Face calls what has no name
    for (graft::index_t i = 0; i < asked.outputs; ++i)
      s.labels.push_back("LABEL_" + std::to_string(i));
  data_form form{.task = s.task, .max_length = options_.max_length};
  if (const auto taught = read_reading(folder)) {
    form.max_length = form.max_length.value_or(taught->max_length);
    s.unanswerable = taught->unanswerable;
  }
  s.longest = std::min<graft::index_t>(form.longest(), encoder_.longest);
  return std::make_shared<const served>(std::move(s));
}

bool service::load(const std::string& name, const std::string& folder) {
  check_adapter_name(name);
  const std::lock_guard one(changes_);
  {
    const std::lock_guard lock(names_in_use_);
    if (!adapters_.contains(name) && adapters_.size() >= options_.adapters)
      throw refusal(507, "expected at most " + std::to_string(options_.adapters) + " adapters");
  }
  const auto under = bank_->load(name, graft::read_any_adapter(folder, bank_->config()));
  auto loaded = served_from(under, folder);
  const std::lock_guard lock(names_in_use_);
  return adapters_.insert_or_assign(name, std::move(loaded)).second;
}

std::pair<service::json, bool> service::put(const std::string& name, std::string_view body) {
  if (options_.allowed.empty())
    throw refusal(403, "adapters are those that the server began with (--allow-adapters)");
  check_adapter_name(name);
  if (queue_.closed())
    throw refusal(503, "the server is shutting down");
  const std::string folder = folder_below(options_.allowed, parse_folder(body));
  const bool added = or_bad_request([&] { return load(name, folder); });
  return {{{"adapter", name}}, added};
}

service::json service::remove(const std::string& name) {
  if (options_.allowed.empty())
    throw refusal(403, "adapters are those that the server began with (--allow-adapters)");
  const std::lock_guard one(changes_);
  served_handle old = find(name);  // let go of outside the lock
  bank_->unload(name);
  const std::lock_guard lock(names_in_use_);
  adapters_.erase(name);
  return {{"adapter", name}};
}

service::served_handle service::find(const std::optional<std::string>& name) const {
  if (!name && !base_)
    throw refusal(400, "expected an adapter, since the base has no head");
  if (!name)
    return base_;
  const std::lock_guard lock(names_in_use_);
  const auto found = adapters_.find(*name);
  if (found == adapters_.end())
    throw refusal(404, "expected the name of an adapter, found " + graft::detail::in_quotes(*name));
  return found->second;
}

service::encoded_request service::encode(const predict_request& request, const served& by) const {
  encoded_request made;
  const auto add = [&](graft::encoded e) {
    made.cut.push_back(e.truncated);
    made.examples.push_back({std::move(e.ids), std::move(e.types)});
  };
  const auto& words = encoder_.words;
  for (const asked_text& text : request.texts) {
    const bool pair = text.second.has_value();
    switch (by.task) {
      case task_kind::classification:
      case task_kind::regression:
        add(pair ? words.encode(text.first, *text.second, by.longest)
                 : words.encode(text.first, by.longest));
        break;
      case task_kind::token_classification: {
        if (pair)
          throw refusal(400, "pairs: expected \"texts\" for token-classification");
        std::istringstream parts(text.first);
        const std::vector<std::string> list{std::istream_iterator<std::string>(parts), {}};
        made.words.push_back(graft::encode_words(words, list, by.longest));
        add(made.words.back());
        break;
      }
      case task_kind::question_answering: {
        if (!pair)
          throw refusal(400,
                        "texts: expected \"pairs\" of question and text for question-answering");
        const auto number = static_cast<std::uint32_t>(made.questions.size());
        made.questions.push_back({.id = "pairs[" + std::to_string(number) + "]",
                                  .text = text.first,
                                  .context = *text.second,
                                  .answers = {}});
        auto cut = graft::cut_windows(words, made.questions.back(),
                                      {.max_length = by.longest, .overlap = by.longest / 3});
        for (auto& w : cut.windows) {
          made.examples.push_back({std::move(w.ids), std::move(w.types)});
          made.windows.push_back({.question = number,
                                  .context_row = w.context_row,
                                  .context_rows = w.context_rows,
                                  .context_token = w.context_token});
        }
        made.places.push_back(std::move(cut.places));
        break;
      }
    }
  }
  return made;
}

namespace {

using json = service::json;

std::size_t greatest(std::span<const float> values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

json classified(const std::vector<float>& logits, const std::vector<std::string>& labels) {
  const std::size_t top = greatest(logits);
  double sum = 0;
  for (const float y : logits)
    sum += std::exp(static_cast<double>(y) - static_cast<double>(logits[top]));
  return {{"label", labels.at(top)}, {"probability", 1 / sum}, {"logits", logits}};
}

// The tag of each word, null for one that was cut off.
json tagged(const graft::encoded_words& sentence, const std::vector<float>& outputs,
            const std::vector<std::string>& labels, const std::string& text) {
  std::istringstream parts(text);
  json tags(std::vector<json>(
      static_cast<std::size_t>(std::distance(std::istream_iterator<std::string>(parts), {}))));
  for (std::size_t t = sentence.words.size(); t-- > 0;)  // a word's first piece comes last
    if (const auto word = sentence.words[t]; word >= 0)
      tags[static_cast<std::size_t>(word)] =
          labels.at(greatest(std::span(outputs).subspan(t * labels.size(), labels.size())));
  return {{"tags", std::move(tags)}};
}

}  // namespace

service::json service::results(const predict_request& request, const encoded_request& encoded,
                               const batching_queue::outputs& outputs, const served& by) const {
  json list = json::array();
  if (by.task == task_kind::question_answering) {
    std::vector<graft::found_answer> best(encoded.questions.size());
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const graft::answer_place& at = encoded.windows[i];
      const graft::matrix_view<const float> y(
          outputs[i].data(), static_cast<graft::index_t>(outputs[i].size() / 2), 2);
      best[at.question].join(graft::best_answer(y, 0, at, graft::question_answering{}.longest));
    }
    for (std::size_t q = 0; q < best.size(); ++q) {
      const bool none = best[q].first < 0 || (by.unanswerable && best[q].none > best[q].score);
      list.push_back(
          {{"answer", none ? json()
                           : json(graft::answer_text(encoded.questions[q], encoded.places[q],
                                                     best[q].first, best[q].last))}});
    }
    return list;
  }
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    json result;
    switch (by.task) {
      case task_kind::classification:
        result = classified(outputs[i], by.labels);
        break;
      case task_kind::token_classification:
        result = tagged(encoded.words[i], outputs[i], by.labels, request.texts[i].first);
        break;
      default:
        result = {{"value", outputs[i].at(0)}, {"logits", outputs[i]}};
    }
    if (encoded.cut[i])
      result["cut"] = true;
    list.push_back(std::move(result));
  }
  return list;
}

service::json service::predict(std::string_view body) {
  const predict_request request = parse_request(body, options_.limits.queue);
  const served_handle by = find(request.adapter);
  encoded_request encoded = or_bad_request([&] { return encode(request, *by); });
  const auto outputs = queue_.ask(std::move(encoded.examples), by->under);
  for (const auto& row : outputs)
    if (!std::all_of(row.begin(), row.end(), [](float y) { return std::isfinite(y); }))
      throw refusal(500, "the model gives values that are not finite");
  return {{"adapter", request.adapter ? json(*request.adapter) : json()},
          {"task", graft::name_of(by->task)},
          {"labels", by->labels},
          {"results", results(request, encoded, outputs, *by)}};
}

service::json service::adapters() const {
  const auto described = [](const served& s) {
    return json{{"task", graft::name_of(s.task)}, {"labels", s.labels}, {"max_length", s.longest}};
  };
  json all = json::object();
  const std::lock_guard lock(names_in_use_);
  for (const auto& [name, s] : adapters_)
    all[name] = described(*s);
  return {{"base", base_ ? described(*base_) : json()}, {"adapters", std::move(all)}};
}

service::json service::health() const {
  const batch_counts c = queue_.counts();
  const std::lock_guard lock(names_in_use_);
  return {{"status", queue_.closed() ? "shutting down" : "serving"},
          {"adapters", adapters_.size()},
          {"waiting", c.waiting},
          {"requests", c.requests},
          {"sequences", c.sequences},
          {"batches", c.batches},
          {"refused", c.refused}};
}

void service::run() {
  queue_.run([&](auto examples, auto under) { return bank_->predict(examples, under); });
}

}  // namespace programs
