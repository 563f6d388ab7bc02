// SPDX-License-Identifier: MIT
// Labelled texts and pairs of texts in files of lines text<TAB>label, and the labels' indices.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/lines.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace graft {

struct labelled_text {
  std::string text;
  std::string label;
  index_t line = 0;      // in the file it came from, counted from 1
  std::string second{};  // of a pair of texts

  friend bool operator==(const labelled_text&, const labelled_text&) = default;
};

// Every line of a UTF-8 file is one text, a tab and its label; with `pairs` one text, a tab,
// another text, a tab and their label. A first line that says "sentence<TAB>label" or
// "text<TAB>label" is a header, of pairs one that says "sentence1<TAB>sentence2<TAB>label" or
// "text1<TAB>text2<TAB>label"; a byte order mark and CRLF are accepted. Throws input_error
// "FILE:LINE: expected …, found …" for anything else, a file without texts included.
inline std::vector<labelled_text> read_labelled(const std::string& path, bool pairs = false);

// The number that an example's label is. Throws input_error with `path` and the example's line when
// it is none, or not finite.
inline double score_of(const labelled_text& example, const std::string& path);

// The different labels of a training file in order, numbers within them by value: "2" < "10".
class label_set {
 public:
  label_set() = default;

  explicit label_set(std::vector<std::string> labels);

  explicit label_set(const std::vector<labelled_text>& examples);

  const std::vector<std::string>& labels() const { return labels_; }
  index_t size() const { return static_cast<index_t>(labels_.size()); }

  std::optional<index_t> find(std::string_view label) const;

  // The index of an example's label. Throws input_error with `path` and the example's line when the
  // label is not in the set.
  index_t index_of(const labelled_text& example, const std::string& path) const;

 private:
  std::vector<std::string> labels_;
};

namespace text_detail {

// Compares runs of digits by their value and everything else byte by byte.
inline bool natural_less(std::string_view a, std::string_view b) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  // The run of digits at i, without leading zeros.
  const auto number = [&](std::string_view text, std::size_t& i) {
    const std::size_t start = i;
    while (i < text.size() && digit(text[i]))
      ++i;
    std::string_view run = text.substr(start, i - start);
    while (run.size() > 1 && run.front() == '0')
      run.remove_prefix(1);
    return run;
  };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (digit(a[i]) && digit(b[j])) {
      const auto x = number(a, i), y = number(b, j);
      if (x.size() != y.size())
        return x.size() < y.size();
      if (x != y)
        return x < y;
    } else {
      const auto x = static_cast<unsigned char>(a[i++]), y = static_cast<unsigned char>(b[j++]);
      if (x != y)
        return x < y;
    }
  }
  const std::size_t left_a = a.size() - i, left_b = b.size() - j;
  return left_a != left_b ? left_a < left_b : a < b;
}

inline const char* line_form(bool pairs) {
  return pairs ? "text<TAB>text<TAB>label" : "text<TAB>label";
}

inline bool is_header(std::string_view line, bool pairs) {
  return pairs ? line == "sentence1\tsentence2\tlabel" || line == "text1\ttext2\tlabel"
               : line == "sentence\tlabel" || line == "text\tlabel";
}

inline labelled_text read_labelled_line(std::string_view line, const std::string& place,
                                        bool pairs = false) {
  const auto fail = [&](const std::string& found) {
    throw input_error(place + ": expected " + line_form(pairs) + ", found " + found);
  };
  if (const index_t at = unicode::first_invalid_byte(line); at >= 0)
    throw input_error(place + ": expected UTF-8, found an invalid sequence at byte " +
                      std::to_string(at));
  if (line.empty())
    fail("an empty line");
  const auto columns = std::count(line.begin(), line.end(), '\t') + 1;
  if (columns != (pairs ? 3 : 2))
    fail(std::to_string(columns) + (columns == 1 ? " column" : " columns"));
  const auto first = line.find('\t'), last = line.rfind('\t');
  labelled_text example{std::string(line.substr(0, first)), std::string(line.substr(last + 1))};
  if (pairs)
    example.second = line.substr(first + 1, last - first - 1);
  if (example.text.empty() || (pairs && example.second.empty()))
    fail("an empty text");
  if (example.label.empty())
    fail("an empty label");
  return example;
}

}  // namespace text_detail

inline std::vector<labelled_text> read_labelled(const std::string& path, bool pairs) {
  std::vector<labelled_text> examples;
  const index_t lines =
      text_detail::for_each_line<input_error>(path, [&](std::string_view line, index_t number) {
        if (number == 1 && text_detail::is_header(line, pairs))
          return;
        examples.push_back(
            text_detail::read_labelled_line(line, path + ":" + std::to_string(number), pairs));
        examples.back().line = number;
      });
  if (examples.empty())
    throw input_error(path + ":" + std::to_string(std::max<index_t>(lines, 1)) + ": expected " +
                      text_detail::line_form(pairs) + ", found the end of the file");
  return examples;
}

inline double score_of(const labelled_text& example, const std::string& path) {
  double score = 0;
  const char* end = example.label.data() + example.label.size();
  const auto [stop, failure] = std::from_chars(example.label.data(), end, score);
  if (failure != std::errc{} || stop != end || !std::isfinite(score))
    throw input_error(path + ":" + std::to_string(example.line) +
                      ": expected a finite number as label, found \"" + example.label + "\"");
  return score;
}

inline label_set::label_set(std::vector<std::string> labels) : labels_(std::move(labels)) {
  std::sort(labels_.begin(), labels_.end(), text_detail::natural_less);
  labels_.erase(std::unique(labels_.begin(), labels_.end()), labels_.end());
}

inline label_set::label_set(const std::vector<labelled_text>& examples)
    : label_set([&] {
        std::vector<std::string> labels;
        for (const auto& example : examples)
          labels.push_back(example.label);
        return labels;
      }()) {}

inline std::optional<index_t> label_set::find(std::string_view label) const {
  const auto found =
      std::lower_bound(labels_.begin(), labels_.end(), label, text_detail::natural_less);
  if (found == labels_.end() || *found != label)
    return std::nullopt;
  return found - labels_.begin();
}

inline index_t label_set::index_of(const labelled_text& example, const std::string& path) const {
  if (const auto found = find(example.label))
    return *found;
  std::string known;
  for (index_t i = 0; i < std::min<index_t>(size(), 10); ++i)
    known += (i == 0 ? "\"" : ", \"") + labels_[static_cast<std::size_t>(i)] + "\"";
  if (size() > 10)
    known += ", …";
  throw input_error(path + ":" + std::to_string(example.line) +
                    ": expected a label of the training file (" + known + "), found \"" +
                    example.label + "\"");
}

}  // namespace graft
