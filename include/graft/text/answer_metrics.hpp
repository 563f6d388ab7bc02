// SPDX-License-Identifier: MIT
// How good a short answer in words is: extractive question answering as the script of SQuAD 2.0
// counts it (Rajpurkar et al. 2018, arXiv:1806.03822), but for a capital sigma at a word's end:
// here it becomes σ, there ς.
#pragma once

#include <graft/text/unicode.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// In lower case, without ASCII punctuation, without the words "a", "an" and "the", with one space
// between words. A word ends where letters and digits do: “the” in quotation marks that are not
// ASCII goes, too. Throws input_error where the answer is not UTF-8.
inline std::string normalized_answer(std::string_view answer) {
  std::u32string plain;
  for (const char32_t c : unicode::decode(answer)) {
    const bool ascii_punctuation = (c >= U'!' && c <= U'/') || (c >= U':' && c <= U'@') ||
                                   (c >= U'[' && c <= U'`') || (c >= U'{' && c <= U'~');
    if (!ascii_punctuation)
      unicode::append_lower(plain, c);
  }
  const auto in_word = [](char32_t c) { return unicode::is_letter(c) || unicode::is_number(c); };
  const auto is_space = [](char32_t c) {  // Python's: the separators of ASCII are space, too
    return unicode::is_space(c) || (c >= 0x1C && c <= 0x1F);
  };
  std::u32string kept;
  bool parted = false;  // by space or an article
  const auto append = [&](std::u32string_view run) {
    if (parted && !kept.empty())
      kept += U' ';
    parted = false;
    kept += run;
  };
  for (auto at = plain.cbegin(); at != plain.cend();) {
    const auto end = std::find_if_not(at, plain.cend(), in_word);
    if (end == at) {
      if (is_space(*at))
        parted = true;
      else
        append({&*at, 1});
      ++at;
      continue;
    }
    const std::u32string_view word(&*at, static_cast<std::size_t>(end - at));
    if (word == U"a" || word == U"an" || word == U"the")
      parted = true;
    else
      append(word);
    at = end;
  }
  return unicode::encode(kept);
}

namespace text_detail {

// Of a normalised answer.
inline std::vector<std::string> answer_words(std::string_view answer) {
  std::vector<std::string> words;
  while (!answer.empty()) {
    const std::size_t end = std::min(answer.find(' '), answer.size());
    words.emplace_back(answer.substr(0, end));
    answer.remove_prefix(std::min(end + 1, answer.size()));
  }
  return words;
}

// The truths that normalise to something; "" alone where none does: the question has no answer.
inline std::vector<std::string> answers_among(const std::vector<std::string>& truths) {
  std::vector<std::string> answers;
  for (const std::string& truth : truths)
    if (!normalized_answer(truth).empty())
      answers.push_back(truth);
  if (answers.empty())
    answers.emplace_back();
  return answers;
}

}  // namespace text_detail

// Whether the two are equal, normalised.
inline bool exact_match(std::string_view prediction, std::string_view truth) {
  return normalized_answer(prediction) == normalized_answer(truth);
}

// The harmonic mean of precision and recall over words, a word counting as often as both have it.
// 1 where neither has words, 0 where one has none.
inline double answer_f1(std::string_view prediction, std::string_view truth) {
  auto said = text_detail::answer_words(normalized_answer(prediction));
  auto meant = text_detail::answer_words(normalized_answer(truth));
  if (said.empty() && meant.empty())
    return 1;
  std::sort(said.begin(), said.end());
  std::sort(meant.begin(), meant.end());
  std::vector<std::string> common;
  std::set_intersection(said.begin(), said.end(), meant.begin(), meant.end(),
                        std::back_inserter(common));
  const double n = static_cast<double>(common.size());
  return 2 * n / static_cast<double>(said.size() + meant.size());
}

// Over several truths the best. Those that normalise to nothing do not count unless all do; without
// truths the right answer is none.
inline bool exact_match(std::string_view prediction, const std::vector<std::string>& truths) {
  const auto answers = text_detail::answers_among(truths);
  return std::any_of(answers.begin(), answers.end(),
                     [&](const std::string& truth) { return exact_match(prediction, truth); });
}

inline double answer_f1(std::string_view prediction, const std::vector<std::string>& truths) {
  double best = 0;
  for (const std::string& truth : text_detail::answers_among(truths))
    best = std::max(best, answer_f1(prediction, truth));
  return best;
}

}  // namespace graft
