// SPDX-License-Identifier: MIT
// Questions about texts, in the JSON format of SQuAD.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/json.hpp>
#include <graft/text/unicode.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// A question whose answer is to be found in the context. The first answer is the bytes
// answer_first, …, answer_end - 1 of the context; both are -1 when there is none.
struct question {
  std::string id;
  std::string text;
  std::string context;
  std::vector<std::string> answers;
  index_t answer_first = -1;
  index_t answer_end = -1;

  friend bool operator==(const question&, const question&) = default;
};

// Reads SQuAD's files, versions 1.1 and 2.0 (Rajpurkar et al. 2016, arXiv:1606.05250; 2018,
// arXiv:1806.03822):
//   {"data": [{"paragraphs": [{"context": …, "qas": [{"id": …, "question": …, "is_impossible": …,
//     "answers": [{"text": …, "answer_start": …}, …]}, …]}, …]}, …]}
// answer_start counts the code points of the context. A question without answers, or that says
// is_impossible, has none. Throws input_error naming the file and the key, and the question's id
// when an answer does not stand where it says.
inline std::vector<question> read_questions(const std::string& path);

namespace text_detail {

using data_place = basic_json_place<input_error>;

// Where each code point of a text begins, and where the text ends.
inline std::vector<index_t> starts_of_points(std::string_view text) {
  std::vector<index_t> starts;
  starts.reserve(text.size() + 1);
  unicode::for_each_point(text, [&](char32_t, index_t first, index_t) { starts.push_back(first); });
  starts.push_back(static_cast<index_t>(text.size()));
  return starts;
}

// `starts` are those of the context's points.
inline void read_answer(const data_place& place, const std::vector<index_t>& starts, question& to) {
  const std::string& answer = place.at("text").string();
  const std::int32_t start = place.at("answer_start").count();
  const std::string_view context = to.context;
  const bool inside = static_cast<std::size_t>(start) < starts.size();
  const auto first = static_cast<std::size_t>(inside ? starts[static_cast<std::size_t>(start)] : 0);
  if (answer.empty())
    place.at("text").fail("an answer of question \"" + to.id + "\"");
  if (!inside || !context.substr(first).starts_with(answer))
    place.at("answer_start")
        .fail("the character of its context at which the answer \"" + answer + "\" to question \"" +
              to.id + "\" begins");
  if (to.answers.empty()) {
    to.answer_first = static_cast<index_t>(first);
    to.answer_end = static_cast<index_t>(first + answer.size());
  }
  to.answers.push_back(answer);
}

inline question read_question(const data_place& place, const std::string& context,
                              const std::vector<index_t>& starts) {
  question out;
  out.id = place.at("id").string();
  out.text = place.at("question").string();
  out.context = context;
  const auto impossible = place.find("is_impossible");
  if (impossible && impossible->boolean())
    return out;
  if (const auto answers = place.find("answers"))
    answers->for_each([&](const data_place& answer) { read_answer(answer, starts, out); });
  return out;
}

}  // namespace text_detail

inline std::vector<question> read_questions(const std::string& path) {
  using text_detail::data_place;
  const auto file = text_detail::open_json<input_error>(path);
  std::vector<question> questions;
  file.root().at("data").for_each([&](const data_place& article) {
    article.at("paragraphs").for_each([&](const data_place& paragraph) {
      const std::string& context = paragraph.at("context").string();
      const auto starts = text_detail::starts_of_points(context);
      paragraph.at("qas").for_each([&](const data_place& place) {
        questions.push_back(text_detail::read_question(place, context, starts));
      });
    });
  });
  if (questions.empty())
    throw input_error(path + ": expected questions, found none");
  return questions;
}

}  // namespace graft
