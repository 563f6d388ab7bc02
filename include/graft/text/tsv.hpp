// SPDX-License-Identifier: MIT
// Labelled texts in files of lines text<TAB>label, and the labels' indices.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/files.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

struct labelled_text {
  std::string text;
  std::string label;
  index_t line = 0;  // in the file it came from, counted from 1

  friend bool operator==(const labelled_text&, const labelled_text&) = default;
};

// Every line of a UTF-8 file is one text, a tab and its label. A first line that says
// "sentence<TAB>label" or "text<TAB>label" is a header; a byte order mark and CRLF are accepted.
// Throws input_error "FILE:LINE: expected …, found …" for anything else, a file without texts
// included.
inline std::vector<labelled_text> read_labelled(const std::string& path);

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

inline labelled_text read_labelled_line(std::string_view line, const std::string& place) {
  const auto fail = [&](const std::string& found) {
    throw input_error(place + ": expected text<TAB>label, found " + found);
  };
  if (const index_t at = unicode::first_invalid_byte(line); at >= 0)
    throw input_error(place + ": expected UTF-8, found an invalid sequence at byte " +
                      std::to_string(at));
  if (line.empty())
    fail("an empty line");
  const auto columns = std::count(line.begin(), line.end(), '\t') + 1;
  if (columns != 2)
    fail(std::to_string(columns) + (columns == 1 ? " column" : " columns"));
  const auto tab = line.find('\t');
  labelled_text example{std::string(line.substr(0, tab)), std::string(line.substr(tab + 1))};
  if (example.text.empty())
    fail("an empty text");
  if (example.label.empty())
    fail("an empty label");
  return example;
}

}  // namespace text_detail

inline std::vector<labelled_text> read_labelled(const std::string& path) {
  const std::string bytes = text_detail::read_whole<input_error>(path);
  std::string_view rest = bytes;
  if (rest.starts_with("\xEF\xBB\xBF"))
    rest.remove_prefix(3);
  std::vector<labelled_text> examples;
  index_t number = 0;
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (line.ends_with('\r'))
      line.remove_suffix(1);
    ++number;
    if (number == 1 && (line == "sentence\tlabel" || line == "text\tlabel"))
      continue;
    auto example = text_detail::read_labelled_line(line, path + ":" + std::to_string(number));
    example.line = number;
    examples.push_back(std::move(example));
  }
  if (examples.empty())
    throw input_error(path + ":" + std::to_string(std::max<index_t>(number, 1)) +
                      ": expected text<TAB>label, found the end of the file");
  return examples;
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
