// SPDX-License-Identifier: MIT
// AdapterHub's prediction heads: those of Hugging Face's own classes, and its flexible ones.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/task_kind.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

// | member   | meaning                                                            |
// | tensors  | of the head: of a flexible one on BERT the pooler, too             |
// | labels   | empty where the file has none                                      |
// | flexible | the name of a flexible head, empty for one of Hugging Face's       |
struct adapterhub_head {
  task_kind task = task_kind::classification;
  std::vector<std::string> labels;
  std::vector<adapterhub_tensor> tensors;
  std::string flexible;
};

// What a parsed head_config.json says of a head on a model of this configuration; errors call it
// `file`. A flexible classification head of two maps on the first token is BERT's pooler and
// classifier, or RoBERTa's and DistilBERT's two maps; a dropout before the first is not kept where
// BERT has none.
//
// Throws checkpoint_error for heads of other kinds and other arithmetic, by what tells them.
GRAFT_PLAIN adapterhub_head read_adapterhub_head(const nlohmann::json& json, const bert_config& c,
                                                 const std::string& file);

// The head in an adapter as AdapterHub would have it; nothing where there is none. It is one of
// Hugging Face's, which all its models load, but flexible where BERT's pooler is another than the
// base's.
GRAFT_PLAIN std::optional<adapterhub_head> adapterhub_head_of(const adapter_data& a,
                                                              const bert_config& c,
                                                              const std::string& name);

namespace detail {

// What the files of adapter, head and fusion have in common.
GRAFT_PLAIN nlohmann::json adapterhub_frame(const bert_config& c, const std::string& base,
                                            const std::optional<adapterhub_head>& head);

}  // namespace detail

// Its head_config.json.
GRAFT_PLAIN nlohmann::json write_adapterhub_head(const adapterhub_head& h, const bert_config& c,
                                                 const std::string& base);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

// The maps of a head, first to last: the one to the outputs has `labels` rows. BERT has its pooler
// in the encoder, so that it belongs to the head only where `pooled` says so.
inline std::vector<std::string> head_maps(bert_family family, task_kind task, bool pooled) {
  if (per_token(task))
    return {"head.classifier"};
  if (family == bert_family::bert)
    return pooled ? std::vector<std::string>{"pooler", "head.classifier"}
                  : std::vector<std::string>{"head.classifier"};
  return {"head.dense", "head.classifier"};
}

// The tensors of these maps, in a flexible head at the places 1, 4 of its sequence.
inline std::vector<adapterhub_tensor> head_tensors(const bert_config& c,
                                                   const std::vector<std::string>& maps,
                                                   task_kind task, index_t labels,
                                                   const std::string& flexible) {
  std::vector<adapterhub_tensor> tensors;
  int place = 1;
  for (const std::string& map : maps) {
    const index_t out = map == "head.classifier" ? labels : c.width;
    const auto name = [&](const char* part) {
      return flexible.empty() ? checkpoint_name(c.family, map + part, task).value()
                              : "heads." + flexible + "." + std::to_string(place) + part;
    };
    tensors.push_back({map + ".weight", out, c.width, name(".weight"), {out, c.width}, 0, c.width});
    tensors.push_back({map + ".bias", 1, out, name(".bias"), {out}, 0, out});
    place += 3;  // dropout, map, activation
  }
  return tensors;
}

// The labels by their numbers.
inline std::vector<std::string> labels_from(const nlohmann::json& json, index_t count,
                                            const std::string& file) {
  const auto numbers = get<std::optional<std::map<std::string, index_t>>>(json, "label2id", file);
  if (!numbers)
    return {};
  std::vector<std::string> labels(static_cast<std::size_t>(count));
  std::size_t named = 0;
  for (const auto& [label, number] : *numbers)
    if (number >= 0 && number < count && labels[static_cast<std::size_t>(number)].empty()) {
      labels[static_cast<std::size_t>(number)] = label;
      ++named;
    }
  if (named != labels.size() || named != numbers->size())
    throw checkpoint_error(file + ": \"label2id\": expected the numbers 0 to " +
                           std::to_string(count - 1) + ", once each, found others");
  return labels;
}

inline index_t label_count(const nlohmann::json& json, const std::string& file) {
  const auto labels = get<std::optional<nlohmann::json>>(json, "label2id", file);
  const auto count =
      get<index_t>(json, "num_labels", file,
                   labels && labels->is_object() ? static_cast<index_t>(labels->size()) : 2);
  if (count < 1 || count > 1'000'000)
    throw checkpoint_error(file + ": \"num_labels\": expected 1 to 1000000, found " +
                           std::to_string(count));
  return count;
}

inline adapterhub_head flexible_head(const nlohmann::json& json, const bert_config& c,
                                     std::string name, const std::string& file) {
  adapterhub_head h;
  h.flexible = std::move(name);
  const auto kind = get<std::string>(json, "head_type", file);
  const index_t count = label_count(json, file);
  if (kind == "classification")
    h.task = count == 1 ? task_kind::regression : task_kind::classification;
  else if (kind == "tagging")
    h.task = task_kind::token_classification;
  else if (kind == "question_answering")
    h.task = task_kind::question_answering;
  else
    throw checkpoint_error(file +
                           ": \"head_type\": expected classification, tagging or "
                           "question_answering, found " +
                           in_quotes(kind));
  const auto expect = [&](const char* key, const nlohmann::json& expected,
                          const nlohmann::json& found) {
    if (found != expected)
      throw checkpoint_error(file + ": " + in_quotes(key) + ": expected " + expected.dump() +
                             " on " + std::string(type_name(c.family)) + ", found " +
                             described(found));
  };
  const auto layers = get<int>(json, "layers", file);
  const bool bert = c.family == bert_family::bert;
  const bool through_pooler = get<bool>(json, "use_pooler", file, false);
  expect("bias", true, get<bool>(json, "bias", file, true));
  if (!per_token(h.task)) {
    expect("layers", bert && through_pooler ? 1 : 2, layers);
    if (!bert)
      expect("use_pooler", false, through_pooler);
  } else {
    expect("layers", 1, layers);
  }
  if (layers == 2)
    expect("activation_function", c.family == bert_family::distilbert ? "relu" : "tanh",
           get<std::string>(json, "activation_function", file, "null"));
  h.tensors = head_tensors(c, head_maps(c.family, h.task, layers == 2), h.task, count, h.flexible);
  if (h.task == task_kind::question_answering)
    expect("num_labels", 2, count);
  else
    h.labels = labels_from(json, count, file);
  return h;
}

inline std::string class_of(bert_family family, std::string_view what) {
  const std::string_view model = family == bert_family::bert      ? "Bert"
                                 : family == bert_family::roberta ? "Roberta"
                                                                  : "DistilBert";
  return std::string(model) + std::string(what);
}

inline std::string_view class_for(task_kind task) {
  switch (task) {
    case task_kind::classification:
    case task_kind::regression:
      return "ForSequenceClassification";
    case task_kind::token_classification:
      return "ForTokenClassification";
    case task_kind::question_answering:
      return "ForQuestionAnswering";
  }
  return "";
}

}  // namespace detail

GRAFT_PLAIN adapterhub_head read_adapterhub_head(const nlohmann::json& json, const bert_config& c,
                                                 const std::string& file) {
  if (const auto config = get<std::optional<nlohmann::json>>(json, "config", file))
    return detail::flexible_head(*config, c, get<std::string>(json, "name", file),
                                 file + ": config");
  const auto model = get<std::string>(json, "model_class", file);
  adapterhub_head h;
  const index_t count = detail::label_count(json, file);
  const auto task =
      read_task({{"architectures", nlohmann::json::array({model})}, {"num_labels", count}}, file);
  if (!task)
    throw checkpoint_error(
        file + ": \"model_class\": expected one for sequences, tokens or answers, found " +
        detail::in_quotes(model));
  h.task = *task;
  h.tensors =
      detail::head_tensors(c, detail::head_maps(c.family, h.task, false), h.task, count, "");
  if (h.task != task_kind::question_answering)
    h.labels = detail::labels_from(json, count, file);
  return h;
}

GRAFT_PLAIN std::optional<adapterhub_head> adapterhub_head_of(const adapter_data& a,
                                                              const bert_config& c,
                                                              const std::string& name) {
  const auto classifier = a.tensors.find("head.classifier.weight");
  if (classifier == a.tensors.end())
    return std::nullopt;
  adapterhub_head h;
  h.task = a.task.value_or(c.task);
  h.labels = a.labels;
  const index_t count = classifier->second.rows;
  if (h.labels.empty())
    for (index_t i = 0; i < count; ++i)
      h.labels.push_back("LABEL_" + std::to_string(i));
  const std::set<std::string> different(h.labels.begin(), h.labels.end());
  if (static_cast<index_t>(different.size()) != count ||
      static_cast<index_t>(h.labels.size()) != count)
    throw input_error("write_adapterhub: expected " + std::to_string(count) +
                      " labels, each another, found " + std::to_string(different.size()) + " in " +
                      std::to_string(h.labels.size()));
  const bool pooled =
      c.family == bert_family::bert && !per_token(h.task) && a.tensors.contains("pooler.weight");
  if (pooled)
    h.flexible = name;
  h.tensors = detail::head_tensors(c, detail::head_maps(c.family, h.task, pooled), h.task, count,
                                   h.flexible);
  return h;
}

namespace detail {

GRAFT_PLAIN nlohmann::json adapterhub_frame(const bert_config& c, const std::string& base,
                                            const std::optional<adapterhub_head>& head) {
  const std::string_view ending = !head                     ? "Model"
                                  : !head->flexible.empty() ? "AdapterModel"
                                                            : class_for(head->task);
  return {{"hidden_size", c.width},
          {"model_class", class_of(c.family, ending)},
          {"model_name", base},
          {"model_type", type_name(c.family)},
          {"version", "adapters.1.3.0"}};
}

}  // namespace detail

GRAFT_PLAIN nlohmann::json write_adapterhub_head(const adapterhub_head& h, const bert_config& c,
                                                 const std::string& base) {
  nlohmann::json json = detail::adapterhub_frame(c, base, h);
  nlohmann::json numbers = nlohmann::json::object();
  for (std::size_t i = 0; i < h.labels.size(); ++i)
    numbers[h.labels[i]] = i;
  if (h.flexible.empty()) {
    json.update({{"config", nullptr},
                 {"name", nullptr},
                 {"label2id", numbers},
                 {"num_labels", h.labels.size()}});
  } else {
    json["name"] = h.flexible;
    json["config"] = {
        {"activation_function", "tanh"}, {"bias", true},       {"dropout_prob", nullptr},
        {"head_type", "classification"}, {"layers", 2},        {"label2id", numbers},
        {"num_labels", h.labels.size()}, {"use_pooler", false}};
  }
  return json;
}

}  // namespace graft

#endif
