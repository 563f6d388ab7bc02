// SPDX-License-Identifier: MIT
// The little of Unicode that tokenizers need, in terms of code points. The only file that includes
// utf8proc. The tables are those of the installed utf8proc (15.0 for 2.8); Hugging Face's BERT
// normalizer is held at Unicode 8, so the two differ for some 570 marks and punctuation characters
// of rare scripts that were added or reclassified since.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <utf8proc.h>

namespace graft::unicode {

// One code point and the number of bytes it came from; length 0 says that the bytes are not UTF-8.
struct decoded {
  char32_t point = 0;
  int length = 0;
};

// The code point at the front of `bytes`. Strict: overlong forms, surrogates, values beyond
// U+10FFFF and cut-off sequences are no UTF-8.
inline decoded decode_front(std::string_view bytes) {
  std::int32_t point = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto length = utf8proc_iterate(data, static_cast<utf8proc_ssize_t>(bytes.size()), &point);
  if (length <= 0)
    return {};
  return {static_cast<char32_t>(point), static_cast<int>(length)};
}

// Position of the first byte that does not belong to a well-formed UTF-8 sequence, or -1.
inline index_t first_invalid_byte(std::string_view bytes) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto front = decode_front(bytes.substr(at));
    if (front.length == 0)
      return static_cast<index_t>(at);
    at += static_cast<std::size_t>(front.length);
  }
  return -1;
}

// Calls f(point, first, end) for each code point and its bytes first, …, end - 1. Throws
// input_error with the position of the first invalid byte.
template <class F>
void for_each_point(std::string_view bytes, F&& f) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto front = decode_front(bytes.substr(at));
    if (front.length == 0)
      throw input_error("byte " + std::to_string(at) +
                        ": expected UTF-8, found an invalid sequence");
    const std::size_t first = at;
    at += static_cast<std::size_t>(front.length);
    f(front.point, static_cast<index_t>(first), static_cast<index_t>(at));
  }
}

// Throws as for_each_point does.
inline std::u32string decode(std::string_view bytes) {
  std::u32string points;
  points.reserve(bytes.size());
  for_each_point(bytes, [&](char32_t c, index_t, index_t) { points.push_back(c); });
  return points;
}

inline void append(std::string& bytes, char32_t point) {
  unsigned char buffer[4];
  const auto length = utf8proc_encode_char(static_cast<std::int32_t>(point), buffer);
  bytes.append(reinterpret_cast<const char*>(buffer), static_cast<std::size_t>(length));
}

inline std::string encode(std::u32string_view points) {
  std::string bytes;
  bytes.reserve(points.size());
  for (const char32_t point : points)
    append(bytes, point);
  return bytes;
}

inline utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<std::int32_t>(c));
}

inline bool is_letter(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}

inline bool is_number(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO;
}

inline bool is_punctuation(char32_t c) {
  const auto k = category(c);
  return k >= UTF8PROC_CATEGORY_PC && k <= UTF8PROC_CATEGORY_PO;
}

inline bool is_nonspacing_mark(char32_t c) { return category(c) == UTF8PROC_CATEGORY_MN; }

// Control, format and private-use characters; not the unassigned ones.
inline bool is_control(char32_t c) {
  const auto k = category(c);
  return k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CO;
}

// The White_Space property, a closed list.
inline bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

// A character of a word as regular expressions mean it (\w): letters, marks, decimal and letter
// numbers, connecting punctuation, joiners and circled or squared letters.
inline bool is_word(char32_t c) {
  const auto k = category(c);
  const bool enclosed_letter = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
                               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
  return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) || k == UTF8PROC_CATEGORY_PC ||
         c == 0x200C || c == 0x200D || enclosed_letter;
}

// Lower case, character by character and without context (a final sigma stays σ).
inline void append_lower(std::u32string& out, char32_t c) {
  if (c == 0x130) {  // the one character whose lower case is two: i and a combining dot
    out += U"i\u0307";
  } else {
    out.push_back(static_cast<char32_t>(utf8proc_tolower(static_cast<std::int32_t>(c))));
  }
}

// Canonical decomposition of one character.
inline void append_decomposed(std::u32string& out, char32_t c) {
  std::int32_t parts[8];  // the longest canonical decomposition has 4
  int boundary = 0;
  const auto count = utf8proc_decompose_char(static_cast<std::int32_t>(c), parts, 8,
                                             UTF8PROC_DECOMPOSE, &boundary);
  for (int i = 0; i < count; ++i)
    out.push_back(static_cast<char32_t>(parts[i]));
}

// Puts combining marks into canonical order. After the decomposition of every character: NFD.
inline void order_marks(std::u32string& out) {
  const auto combining = [](char32_t c) {
    return utf8proc_get_property(static_cast<std::int32_t>(c))->combining_class;
  };
  for (std::size_t from = 0; from < out.size(); ++from) {
    if (combining(out[from]) == 0)
      continue;
    std::size_t to = from;
    while (to < out.size() && combining(out[to]) != 0)
      ++to;
    const auto at = [&](std::size_t i) { return out.begin() + static_cast<std::ptrdiff_t>(i); };
    std::stable_sort(at(from), at(to),
                     [&](char32_t a, char32_t b) { return combining(a) < combining(b); });
    from = to;
  }
}

}  // namespace graft::unicode
