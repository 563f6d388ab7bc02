// SPDX-License-Identifier: MIT
#include "support/task_data.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/json.hpp>
#include <graft/text/answer_metrics.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <span>
#include <string_view>
#include <utility>

#include <nlohmann/json.hpp>

namespace programs {

using graft::task_kind;

void add_data_form(CLI::App& app, data_form& form) {
  std::vector<std::string> names;
  for (const auto& [name, kind] : graft::task_names)
    names.emplace_back(name);
  app.add_option_function<std::string>(
         "--task", [&form](const std::string& name) { form.task = graft::task_named(name); },
         "What is asked: classification (the default) and regression read lines text<TAB>label, "
         "token-classification lines word<TAB>tag with an empty one after each sentence, "
         "question-answering the JSON of SQuAD")
      ->check(CLI::IsMember(names));
  app.add_flag("--pairs", form.pairs,
               "Of classification and regression: two texts, text<TAB>text<TAB>label");
  app.add_option("--max-length", form.max_length,
                 "Tokens that are read of a text or, with its question, in one piece (default: 128; "
                 "384 for question-answering)")
      ->check(CLI::Range(3, 1 << 20));
  app.add_option("--limit", form.limit, "Read only the first N of each file (default: all)");
}

void check_form(const data_form& form) {
  if (form.pairs && graft::per_token(form.task))
    throw CLI::ValidationError("--pairs", "is for classification and regression");
}

namespace {

std::string reading_file(const std::string& folder) { return folder + "/graft_reading.json"; }

}  // namespace

void write_reading(const std::string& folder, const data_form& form,
                   const graft::task_objective& what) {
  const auto* asked = std::get_if<graft::question_answering>(&what.kind);
  const nlohmann::ordered_json json{{"pairs", form.pairs},
                                    {"max_length", form.longest()},
                                    {"unanswerable", asked && asked->unanswerable}};
  graft::write_atomically(reading_file(folder),
                          [&](graft::output_file& out) { out.write(json.dump(2) + "\n"); });
}

std::optional<reading> read_reading(const std::string& folder) {
  const std::string file = reading_file(folder);
  if (!std::filesystem::exists(file))
    return {};
  const nlohmann::json json = graft::read_json(file);
  return reading{graft::get<bool>(json, "pairs", file), graft::get<bool>(json, "unanswerable", file),
                 graft::get<int>(json, "max_length", file)};
}

graft::encoded_words encode_words(text_encoder& encoder, std::span<const std::string> words,
                                  const std::string& place) {
  try {
    auto encoded = graft::encode_words(encoder.words, words, encoder.longest);
    encoder.cut += encoded.truncated ? 1 : 0;
    return encoded;
  } catch (const graft::input_error& e) {
    throw graft::input_error(place + ": " + graft::text_of(e));
  }
}

data_file read_data(const std::string& path, const data_form& form) {
  data_file file;
  file.path = path;
  if (path.empty())
    return file;
  const auto cut = [&](auto items) {
    if (form.limit > 0 && items.size() > form.limit)
      items.resize(form.limit);
    return items;
  };
  switch (form.task) {
    case task_kind::classification:
    case task_kind::regression: file.texts = cut(graft::read_labelled(path, form.pairs)); break;
    case task_kind::token_classification:
      file.sentences = cut(graft::read_labelled_words(path));
      break;
    case task_kind::question_answering: file.questions = cut(graft::read_questions(path)); break;
  }
  return file;
}

std::string fingerprint_of(const data_file& file) {
  if (file.size() == 0)
    return "";
  graft::detail::fnv1a hash;
  const auto add = [&](std::string_view part) {
    hash.add(part.size());
    hash.add(std::as_bytes(std::span(part)));
  };
  for (const auto& text : file.texts) {
    add(text.text);
    add(text.second);
    add(text.label);
  }
  for (const auto& sentence : file.sentences)
    for (const auto* list : {&sentence.words, &sentence.tags}) {
      hash.add(list->size());
      for (const auto& word : *list)
        add(word);
    }
  for (const auto& q : file.questions) {
    add(q.id);
    add(q.text);
    add(q.context);
    hash.add(static_cast<std::size_t>(q.answer_first));
    hash.add(static_cast<std::size_t>(q.answer_end));
    hash.add(q.answers.size());
    for (const auto& answer : q.answers)
      add(answer);
  }
  return graft::detail::hash_text(hash);
}

graft::label_set labels_of(const data_file& train, const data_form& form) {
  if (form.task == task_kind::regression)
    return graft::label_set(std::vector<std::string>{"score"});
  if (form.task == task_kind::question_answering)
    return graft::label_set(std::vector<std::string>{"first", "last"});
  graft::label_set labels;
  if (form.task == task_kind::classification) {
    labels = graft::label_set(train.texts);
  } else {
    std::vector<std::string> tags;
    for (const auto& sentence : train.sentences)
      tags.insert(tags.end(), sentence.tags.begin(), sentence.tags.end());
    labels = graft::label_set(std::move(tags));
  }
  if (labels.size() < 2)
    throw graft::input_error(train.path + ": expected at least 2 different labels, found 1");
  return labels;
}

namespace {

// The tags of a sentence as classes.
std::vector<std::int32_t> classes_of(const graft::labelled_words& sentence, const std::string& path,
                                     const graft::label_set& labels) {
  std::vector<std::int32_t> classes;
  for (std::size_t i = 0; i < sentence.tags.size(); ++i)
    classes.push_back(static_cast<std::int32_t>(labels.index_of(
        {"", sentence.tags[i], sentence.line + static_cast<graft::index_t>(i)}, path)));
  return classes;
}

}  // namespace

void check_labels(const data_file& file, const data_form& form, const graft::label_set& labels) {
  for (const auto& text : file.texts)
    if (form.task == task_kind::regression)
      graft::score_of(text, file.path);
    else
      labels.index_of(text, file.path);
  for (const auto& sentence : file.sentences)
    classes_of(sentence, file.path, labels);
}

encoded_data encode(const data_file& file, const data_form& form, const graft::label_set& labels,
                    text_encoder& encoder) {
  encoded_data data;
  const auto place = [&](graft::index_t line) { return file.path + ":" + std::to_string(line); };
  for (const auto& text : file.texts) {
    graft::example e = form.pairs ? encoder(text.text, text.second, place(text.line))
                                  : encoder(text.text, place(text.line));
    if (form.task == task_kind::regression)
      e.target = graft::score_of(text, file.path);
    else
      e.label = static_cast<std::int32_t>(labels.index_of(text, file.path));
    data.examples.push_back(std::move(e));
  }
  for (const auto& sentence : file.sentences) {
    const auto words = encode_words(encoder, sentence.words, place(sentence.line));
    graft::example e{words.ids, words.types};
    e.labels = graft::piece_labels(words, classes_of(sentence, file.path, labels));
    data.examples.push_back(std::move(e));
  }
  for (std::size_t i = 0; i < file.questions.size(); ++i) {
    auto cut = graft::cut_windows(encoder.words, file.questions[i],
                                  {.max_length = encoder.longest, .overlap = encoder.longest / 3});
    for (auto& window : cut.windows) {
      graft::example e{std::move(window.ids), std::move(window.types)};
      e.answer = {window.answer_first,           window.answer_last,  static_cast<std::uint32_t>(i),
                  window.context_row, window.context_rows, window.context_token,
                  cut.answer_first,               cut.answer_last};
      data.examples.push_back(std::move(e));
    }
    data.places.push_back(std::move(cut.places));
  }
  return data;
}

graft::task_objective objective_of(const data_form& form, const graft::label_set& labels,
                                   const data_file& train, const graft::cross_entropy& loss) {
  graft::task_objective what = graft::objective_for(form.task, labels.labels(), loss);
  if (auto* asked = std::get_if<graft::question_answering>(&what.kind))
    asked->unanswerable = std::any_of(train.questions.begin(), train.questions.end(),
                                      [](const graft::question& q) { return q.answers.empty(); });
  return what;
}

std::vector<std::string> answers_of(const session& model,
                                    const std::vector<graft::question>& questions,
                                    const encoded_data& data) {
  const auto* what = std::get_if<graft::question_answering>(&model.objective.kind);
  if (!what)
    throw graft::error("answers: expected a model for question answering");
  std::vector<graft::found_answer> best(questions.size());
  const auto outputs = model.predict(data.examples);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const graft::answer_place& at = data.examples[i].answer;
    const graft::matrix_view<const float> y(outputs[i].data(),
                                            static_cast<graft::index_t>(outputs[i].size() / 2), 2);
    best[at.question].join(graft::best_answer(y, 0, at, what->longest));
  }
  std::vector<std::string> answers;
  for (std::size_t q = 0; q < questions.size(); ++q) {
    const bool none = best[q].first < 0 || (what->unanswerable && best[q].none > best[q].score);
    answers.push_back(none ? "" : graft::answer_text(questions[q], data.places[q], best[q].first,
                                                     best[q].last));
  }
  return answers;
}

graft::evaluation scores_of(const session& model, const data_file& file, const encoded_data& data) {
  graft::evaluation scores = model.evaluate(data.examples);
  if (file.questions.empty())
    return scores;
  const auto answers = answers_of(model, file.questions, data);
  double f1 = 0, exact = 0;
  for (std::size_t q = 0; q < answers.size(); ++q) {
    f1 += graft::answer_f1(answers[q], file.questions[q].answers);
    exact += graft::exact_match(answers[q], file.questions[q].answers) ? 1 : 0;
  }
  const auto n = static_cast<double>(answers.size());
  scores.scores = {{"f1", f1 / n}, {"exact_match", exact / n}};
  return scores;
}

std::string scores_text(const graft::evaluation& scores) {
  std::string text;
  for (const auto& [name, value] : scores.scores) {
    char number[48];
    std::snprintf(number, sizeof number, "%s%s %.4g", text.empty() ? "" : ", ", name.c_str(), value);
    text += number;
  }
  return text;
}

}  // namespace programs
