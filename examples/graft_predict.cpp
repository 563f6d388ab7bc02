// SPDX-License-Identifier: MIT
// Asks a fine-tuned model about lines of standard input.
#include "support/compute.hpp"
#include "support/program.hpp"
#include "support/session.hpp"
#include "support/task_data.hpp"

#include <graft/io/adapter_bank.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

// "label<TAB>probability" of the most probable label.
std::string best_line(const std::vector<float>& logits, const std::vector<std::string>& labels) {
  const auto top = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float y : logits)
    sum += std::exp(static_cast<double>(y) - static_cast<double>(*top));
  char probability[32];
  std::snprintf(probability, sizeof probability, "\t%.6f\n", 1 / sum);
  return labels[static_cast<std::size_t>(top - logits.begin())] + probability;
}

std::string logits_line(const std::vector<float>& logits) {
  std::string line;
  for (const float y : logits) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.9g", line.empty() ? "" : "\t",
                  static_cast<double>(y));
    line += number;
  }
  return line + "\n";
}

// The two parts of a line that has one tab.
std::pair<std::string, std::string> parted(const std::string& line, const std::string& place,
                                           const char* expected) {
  const std::size_t tab = line.find('\t');
  if (tab == std::string::npos || line.find('\t', tab + 1) != std::string::npos)
    throw graft::input_error(place + ": expected " + expected + ", found " +
                             (tab == std::string::npos ? "no tab" : "more than one tab"));
  return {line.substr(0, tab), line.substr(tab + 1)};
}

struct settings {
  std::string model, adapter;
  std::vector<std::string> adapters;  // as given: a folder, or NAME=DIR each
  bool logits = false;
  std::optional<bool> pairs, unanswerable;
  std::optional<int> max_length;
  programs::compute with;
};

// What is read and written for each kind of task.
class predictor {
 public:
  predictor(const settings& s, programs::session& model, programs::text_encoder& encoder)
      : s_(s), model_(model), encoder_(encoder) {}

  void run() {
    switch (model_.config().task) {
      case graft::task_kind::classification:
      case graft::task_kind::regression: return for_texts();
      case graft::task_kind::token_classification: return for_words();
      case graft::task_kind::question_answering: return for_questions();
    }
  }

 private:
  void for_texts() {
    const bool plain = s_.logits || model_.config().task == graft::task_kind::regression;
    programs::for_each_chunk([&](const std::vector<programs::input_line>& lines) {
      graft::example_list examples;
      for (const auto& line : lines)
        if (s_.pairs.value_or(false)) {
          const auto [first, second] = parted(line.text, line.place, "text<TAB>text");
          examples.push_back(encoder_(first, second, line.place));
        } else {
          examples.push_back(encoder_(line.text, line.place));
        }
      for (const auto& row : model_.predict(examples))
        std::cout << (plain ? logits_line(row) : best_line(row, model_.labels()));
    });
  }

  // A tag for each word that blanks part; "_" for a word that was cut off.
  void for_words() {
    programs::for_each_chunk([&](const std::vector<programs::input_line>& lines) {
      std::vector<graft::encoded_words> encoded;
      std::vector<std::size_t> words;
      graft::example_list examples;
      for (const auto& line : lines) {
        std::istringstream parts(line.text);
        const std::vector<std::string> list{std::istream_iterator<std::string>(parts), {}};
        encoded.push_back(programs::encode_words(encoder_, list, line.place));
        words.push_back(list.size());
        examples.push_back({encoded.back().ids, encoded.back().types});
      }
      const auto outputs = model_.predict(examples);
      for (std::size_t i = 0; i < lines.size(); ++i)
        std::cout << tags_of(encoded[i], words[i], outputs[i]);
    });
  }
  std::string tags_of(const graft::encoded_words& sentence, std::size_t words,
                      const std::vector<float>& outputs) const {
    const auto& labels = model_.labels();
    std::vector<std::string> tags(words, "_");
    for (std::size_t t = sentence.words.size(); t-- > 0;)  // a word's first piece comes last
      if (const auto word = sentence.words[t]; word >= 0) {
        const auto row = outputs.begin() + static_cast<std::ptrdiff_t>(t * labels.size());
        const auto top = std::max_element(row, row + static_cast<std::ptrdiff_t>(labels.size()));
        tags[static_cast<std::size_t>(word)] = labels[static_cast<std::size_t>(top - row)];
      }
    std::string line;
    for (const auto& tag : tags)
      line += (line.empty() ? "" : " ") + tag;
    return line + "\n";
  }

  void for_questions() {
    auto* what = std::get_if<graft::question_answering>(&model_.objective.kind);
    what->unanswerable = s_.unanswerable.value_or(false);
    const programs::data_form form{.task = graft::task_kind::question_answering};
    programs::for_each_chunk([&](const std::vector<programs::input_line>& lines) {
      programs::data_file file;
      for (const auto& line : lines) {
        const auto [text, context] = parted(line.text, line.place, "question<TAB>text");
        file.questions.push_back({.id = line.place, .text = text, .context = context, .answers = {}});
      }
      const auto data = programs::encode(file, form, {}, encoder_);
      for (const auto& answer : programs::answers_of(model_, file.questions, data))
        std::cout << answer << '\n';
    });
  }

  const settings& s_;
  programs::session& model_;
  programs::text_encoder& encoder_;
};

// NAME and DIR, nothing where there is no name.
std::optional<std::pair<std::string, std::string>> named_folder(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || text.find('/') < equals)
    return std::nullopt;
  if (equals == 0 || equals + 1 == text.size())
    throw CLI::ValidationError("--adapter", "expected NAME=DIR, found " + text);
  return std::pair(text.substr(0, equals), text.substr(equals + 1));
}

// Answers lines NAME<TAB>text, each by the adapter of that name, in batches of whatever adapters.
template <class B>
void run_mixed(const CLI::App& app, const settings& s) {
  using bank_type = graft::adapter_bank<B>;
  bank_type bank(s.model);
  const auto config = graft::read_bert_config_of(s.model);
  for (const std::string& text : s.adapters) {
    const auto folder = named_folder(text);
    if (!folder)
      throw CLI::ValidationError("--adapter", "expected NAME=DIR where there are several, found " + text);
    const auto added = bank.load(folder->first, graft::read_any_adapter(folder->second, config));
    if (graft::per_token(added->task))
      throw graft::input_error(folder->second + ": expected an adapter for whole texts where lines are "
                               "NAME<TAB>text, found one for " + std::string(graft::name_of(added->task)));
  }
  auto encoder = programs::text_encoder::open(s.model, config, config.longest(),
                                              s.max_length.value_or(0));
  programs::for_each_chunk([&](const std::vector<programs::input_line>& lines) {
    graft::example_list examples;
    std::vector<typename bank_type::handle> adapters;
    for (const auto& line : lines) {
      const std::size_t tab = line.text.find('\t');
      if (tab == std::string::npos)
        throw graft::input_error(line.place + ": expected NAME<TAB>text, found no tab");
      try {
        adapters.push_back(bank.find(line.text.substr(0, tab)));
      } catch (const graft::input_error& e) {
        throw graft::input_error(line.place + ": " + graft::text_of(e));
      }
      const std::string text = line.text.substr(tab + 1);
      if (s.pairs.value_or(false)) {
        const auto [first, second] = parted(text, line.place, "NAME<TAB>text<TAB>text");
        examples.push_back(encoder(first, second, line.place));
      } else {
        examples.push_back(encoder(text, line.place));
      }
    }
    constexpr std::size_t batch = 64;
    for (std::size_t at = 0; at < examples.size(); at += batch) {
      const std::size_t n = std::min(batch, examples.size() - at);
      const auto outputs = bank.predict(std::span(examples).subspan(at, n),
                                        std::span<const typename bank_type::handle>(adapters).subspan(at, n));
      for (std::size_t i = 0; i < n; ++i) {
        const auto& adapter = *adapters[at + i];
        std::vector<std::string> labels = adapter.labels;
        for (std::size_t l = labels.size(); l < outputs[i].size(); ++l)
          labels.push_back("LABEL_" + std::to_string(l));
        const bool plain = s.logits || adapter.task == graft::task_kind::regression;
        std::cout << (plain ? logits_line(outputs[i]) : best_line(outputs[i], labels));
      }
    }
  });
  if (const auto warning = encoder.warning(); !warning.empty())
    programs::say(app, "warning: " + warning);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Asks a fine-tuned model about the lines of standard input, a line of answer for each: of a "
      "classifier label<TAB>probability, of a regression the number, of token-classification the "
      "tags of the words that blanks part, _ for a word that was cut off, of question-answering (lines question<TAB>text) the "
      "answer.",
      "graft-predict");
  settings s;
  app.add_option("--model", s.model, "Folder of the pretrained model")
      ->required()
      ->type_name("DIR");
  app.add_option("--adapter", s.adapters,
                 "Folder that graft-finetune, PEFT or AdapterHub wrote (default: the model is asked as it "
                 "is); or, once or more, NAME=DIR of LoRA adapters: lines are NAME<TAB>text then, and those "
                 "of different adapters are computed together")
      ->take_all()
      ->type_name("DIR");
  app.add_flag("--logits", s.logits,
               "Of a classifier print the logits instead, separated by tabs, in the order of the "
               "labels in the adapter's graft_adapter.json");
  const auto either = [&](const char* name, std::optional<bool>& value, bool is, const char* text) {
    app.add_flag_callback(name, [&value, is] { value = is; }, text);
  };
  either("--pairs", s.pairs, true, "Lines are text<TAB>text (default: as in training)");
  either("--single", s.pairs, false, "Lines are one text");
  either("--unanswerable", s.unanswerable, true,
         "A question may have no answer, and an empty line is printed then (default: as in training)");
  either("--answerable", s.unanswerable, false, "Every question has an answer");
  app.add_option("--max-length", s.max_length,
                 "Tokens that are read of a text or, with its question, in one piece (default: as in "
                 "training)")
      ->type_name("N")
      ->check(CLI::Range(3, 1 << 20));
  programs::add_compute(app, s.with);
  programs::add_threads(app);

  return programs::run(app, argc, argv, [&] {
    programs::check_compute(s.with);
    if (s.adapters.size() > 1 || (s.adapters.size() == 1 && named_folder(s.adapters.front()))) {
      programs::on_backend(s.with, [&]<class B>() { run_mixed<B>(app, s); });
      return;
    }
    if (!s.adapters.empty())
      s.adapter = s.adapters.front();
    const auto session = s.adapter.empty() ? programs::open_model(s.with, s.model)
                                           : programs::open_with_adapter(s.with, s.model, s.adapter);
    const graft::task_kind task = session->config().task;
    const auto only_for = [&](const char* option, bool given, bool fits) {
      if (given && !fits)
        throw CLI::ValidationError(option, "does not go with " + std::string(graft::name_of(task)));
    };
    only_for("--pairs", s.pairs.has_value(), !graft::per_token(task));
    only_for("--logits", s.logits, task == graft::task_kind::classification);
    only_for("--unanswerable", s.unanswerable.has_value(),
             task == graft::task_kind::question_answering);
    if (const auto taught = programs::read_reading(s.adapter.empty() ? s.model : s.adapter)) {
      s.pairs = s.pairs.value_or(taught->pairs);
      s.unanswerable = s.unanswerable.value_or(taught->unanswerable);
      s.max_length = s.max_length.value_or(taught->max_length);
    }
    const programs::data_form form{.task = task, .max_length = s.max_length};
    auto encoder = programs::text_encoder::open(s.model, session->config(), session->longest(),
                                                form.longest());
    predictor(s, *session, encoder).run();
    if (const auto warning = encoder.warning(); !warning.empty())
      programs::say(app, "warning: " + warning);
  });
}
