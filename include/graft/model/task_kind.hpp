// SPDX-License-Identifier: MIT
// What an encoder with a head on it is asked.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

// | kind                 | outputs                                             | Hugging Face's …     |
// | classification       | a row per sequence: a logit for each class          | SequenceClassification |
// | regression           | a row per sequence: one number                      | SequenceClassification |
// | token_classification | a row per token: a logit for each class             | TokenClassification  |
// | question_answering   | a row per token: logits of the answer's first token and of its last | QuestionAnswering |
enum class task_kind : unsigned char {
  classification,
  regression,
  token_classification,
  question_answering
};

// Has the head a row for each token, or one for each sequence?
constexpr bool per_token(task_kind kind) {
  return kind == task_kind::token_classification || kind == task_kind::question_answering;
}

inline constexpr std::array<std::pair<std::string_view, task_kind>, 4> task_names{
    {{"classification", task_kind::classification},
     {"regression", task_kind::regression},
     {"token-classification", task_kind::token_classification},
     {"question-answering", task_kind::question_answering}}};

constexpr std::string_view name_of(task_kind kind) {
  for (const auto& [name, k] : task_names)
    if (k == kind)
      return name;
  return "";
}

// Throws input_error, listing those there are, for a name of none.
GRAFT_PLAIN task_kind task_named(std::string_view name);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN task_kind task_named(std::string_view name) {
  std::string all;
  for (const auto& [known, kind] : task_names) {
    if (known == name)
      return kind;
    all += (all.empty() ? "" : ", ") + std::string(known);
  }
  throw input_error("task: expected one of " + all + ", found \"" + std::string(name) + "\"");
}

}  // namespace graft

#endif
