// SPDX-License-Identifier: MIT
// A user's table of synonyms, and how a word of a text is found in it.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/lines.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Words, in lower case, and what may stand for each.
struct synonym_table {
  std::string source{};  // the file it was read from
  std::map<std::string, std::vector<std::string>, std::less<>> synonyms{};
};

// Reads lines word<TAB>synonym<TAB>synonym… of a UTF-8 file; a byte order mark and CRLF are
// accepted. A synonym may be several words. Lines for one word, in whatever case, are taken
// together; a synonym given twice is drawn twice as often. Throws input_error "FILE:LINE: expected
// …, found …" for anything else, a file without lines included.
inline synonym_table read_synonyms(const std::string& path);

namespace text_detail {

inline bool is_one_word(std::string_view text) {
  const std::u32string points = unicode::decode(text);
  return !points.empty() && std::none_of(points.begin(), points.end(), unicode::is_space);
}

inline bool is_blank(std::string_view text) {
  const std::u32string points = unicode::decode(text);
  return std::all_of(points.begin(), points.end(), unicode::is_space);
}

inline std::string lower(std::u32string_view points) {
  std::u32string out;
  for (const char32_t c : points)
    unicode::append_lower(out, c);
  return unicode::encode(out);
}

inline std::string with_capital(std::string_view word) {
  const auto front = unicode::decode_front(word);
  if (front.length == 0)
    return std::string(word);
  std::string out;
  unicode::append(out,
                  static_cast<char32_t>(utf8proc_totitle(static_cast<std::int32_t>(front.point))));
  return out.append(word.substr(static_cast<std::size_t>(front.length)));
}

// A word of a text that a table has: its code points `from` to `to` are what was looked up.
struct known_word {
  std::size_t place = 0;
  std::u32string points{};
  std::size_t from = 0, to = 0;
  const std::vector<std::string>* synonyms = nullptr;  // of the table

  std::string replaced_by(const std::string& synonym) const {
    const auto kind = unicode::category(points[from]);
    const bool capital = kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LT;
    return unicode::encode(points.substr(0, from)) + (capital ? with_capital(synonym) : synonym) +
           unicode::encode(points.substr(to));
  }
};

// `synonyms` is null where the table does not have the word.
inline known_word look_up(const synonym_table& table, const std::string& word, std::size_t place) {
  known_word known{place, unicode::decode(word)};
  const auto find = [&](std::size_t from, std::size_t to) {
    const auto found = table.synonyms.find(lower(known.points.substr(from, to - from)));
    if (found == table.synonyms.end() || found->second.empty())
      return false;
    known.from = from;
    known.to = to;
    known.synonyms = &found->second;
    return true;
  };
  std::size_t from = 0, to = known.points.size();
  if (find(from, to))
    return known;
  while (from < to && unicode::is_punctuation(known.points[from]))
    ++from;
  while (from < to && unicode::is_punctuation(known.points[to - 1]))
    --to;
  if (from < to)
    find(from, to);
  return known;
}

}  // namespace text_detail

inline synonym_table read_synonyms(const std::string& path) {
  synonym_table table{path};
  index_t number = 0;
  const auto fail = [&](const std::string& expected, const std::string& found) {
    throw input_error(path + ":" + std::to_string(number) + ": expected " + expected + ", found " +
                      found);
  };
  text_detail::for_each_line<input_error>(path, [&](std::string_view line, index_t at) {
    number = at;
    const auto tab = line.find('\t');
    if (tab == std::string_view::npos)
      fail("word<TAB>synonym", line.empty() ? "an empty line" : "1 column");
    const std::string_view word = line.substr(0, tab);
    if (!text_detail::is_one_word(word))
      fail("a word without white space", "\"" + std::string(word) + "\"");
    auto& synonyms = table.synonyms[text_detail::lower(unicode::decode(word))];
    for (line.remove_prefix(tab); !line.empty();) {
      line.remove_prefix(1);
      const std::string_view synonym = line.substr(0, line.find('\t'));
      if (text_detail::is_blank(synonym))
        fail("synonyms of \"" + std::string(word) + "\"", "an empty one");
      synonyms.emplace_back(synonym);
      line.remove_prefix(synonym.size());
    }
  });
  if (table.synonyms.empty()) {
    number = 1;
    fail("word<TAB>synonym", "the end of the file");
  }
  return table;
}

}  // namespace graft
