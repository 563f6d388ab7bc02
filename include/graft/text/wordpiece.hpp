// SPDX-License-Identifier: MIT
// BERT's tokenizer: clean the text, split it into words and punctuation, cut each word into the
// longest pieces that the vocabulary has.
#pragma once

#include <graft/core/view.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/token_table.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

// What happens to the text before it is split. Devlin et al. 2018, arXiv:1810.04805.
//
//   clean_text            drop control characters, NUL and U+FFFD; white space becomes a blank
//   handle_chinese_chars  a blank on either side of each CJK ideograph
//   strip_accents         decompose (NFD) and drop non-spacing marks; unset: as lowercase
//   lowercase             character by character
struct bert_normalizer {
  bool clean_text = true;
  bool handle_chinese_chars = true;
  std::optional<bool> strip_accents;
  bool lowercase = true;

  // Throws input_error with the byte position when `text` is not UTF-8.
  placed_text operator()(std::string_view text) const;
};

// Greedy longest-match-first WordPiece: a word that cannot be spelled with the vocabulary, or that
// is longer than `max_characters`, is the unknown token. Wu et al. 2016, arXiv:1609.08144.
struct wordpiece {
  token_table tokens;
  bert_normalizer normalizer;
  std::int32_t unknown = 0;
  std::string continuation = "##";  // what a piece within a word begins with
  index_t max_characters = 100;

  placed_text normalized(std::string_view text) const { return normalizer(text); }

  // Appends the tokens of a normalised text, with their places in it.
  void append(std::string_view text, std::vector<placed_token>& out) const;

 private:
  void append_word(std::string_view word, index_t first, std::vector<placed_token>& out) const;
};

namespace text_detail {

// The blocks that BERT calls Chinese, with the start of extension E as Hugging Face's tokenizers
// have it (U+2B920 for U+2B820).
inline bool is_cjk(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

// Unicode's punctuation and the ASCII symbols that Unicode counts otherwise, such as $ and ^.
inline bool is_bert_punctuation(char32_t c) {
  return (c >= 33 && c <= 47) || (c >= 58 && c <= 64) || (c >= 91 && c <= 96) ||
         (c >= 123 && c <= 126) || unicode::is_punctuation(c);
}

inline bool is_dropped(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r')
    return false;
  return c == 0 || c == 0xFFFD || unicode::is_control(c);
}

// Calls f(word) for each run of characters between white space, with every punctuation character a
// word of its own. `text` is UTF-8.
template <class F>
void for_each_bert_word(std::string_view text, F&& f) {
  std::size_t begin = 0;
  const auto flush = [&](std::size_t end) {
    if (begin < end)
      f(text.substr(begin, end - begin));
  };
  for (std::size_t at = 0; at < text.size();) {
    const auto front = unicode::decode_front(text.substr(at));
    const std::size_t next = at + static_cast<std::size_t>(std::max(front.length, 1));
    const bool space = unicode::is_space(front.point);
    if (space || is_bert_punctuation(front.point)) {
      flush(at);
      if (!space)
        f(text.substr(at, next - at));
      begin = next;
    }
    at = next;
  }
  flush(text.size());
}

}  // namespace text_detail

inline placed_text bert_normalizer::operator()(std::string_view text) const {
  const bool strip = strip_accents.value_or(lowercase);
  std::u32string points;
  std::vector<byte_range> places;  // of each point
  points.reserve(text.size());
  places.reserve(text.size());
  unicode::for_each_point(text, [&](char32_t c, index_t first, index_t end) {
    if (clean_text && text_detail::is_dropped(c))
      return;
    const char32_t cleaned = clean_text && unicode::is_space(c) ? U' ' : c;
    const bool apart = handle_chinese_chars && text_detail::is_cjk(cleaned);
    if (apart)
      points.push_back(U' ');
    if (strip)
      unicode::append_decomposed(points, cleaned);
    else
      points.push_back(cleaned);
    if (apart)
      points.push_back(U' ');
    places.resize(points.size(), {first, end});
  });
  if (strip)
    unicode::order_marks(points);  // places keep their order
  placed_text out;
  out.text.reserve(text.size());
  out.places.reserve(text.size());
  std::u32string lower;
  for (std::size_t i = 0; i < points.size(); ++i) {
    if (strip && unicode::is_nonspacing_mark(points[i]))
      continue;
    lower.clear();
    if (lowercase)
      unicode::append_lower(lower, points[i]);
    else
      lower.push_back(points[i]);
    for (const char32_t c : lower)
      unicode::append(out.text, c);
    out.places.resize(out.text.size(), places[i]);
  }
  return out;
}

inline void wordpiece::append(std::string_view text, std::vector<placed_token>& out) const {
  text_detail::for_each_bert_word(
      text, [&](std::string_view word) { append_word(word, word.data() - text.data(), out); });
}

// `first` is where the word begins.
inline void wordpiece::append_word(std::string_view word, index_t first,
                                   std::vector<placed_token>& out) const {
  const auto size = static_cast<index_t>(word.size());
  const auto continues = [](char byte) {
    return (static_cast<unsigned char>(byte) & 0xC0) == 0x80;
  };
  if (word.size() - static_cast<std::size_t>(std::count_if(word.begin(), word.end(), continues)) >
      static_cast<std::size_t>(max_characters)) {
    out.push_back({unknown, first, first + size});
    return;
  }
  const std::size_t before = out.size();
  std::string piece;
  for (std::size_t from = 0; from < word.size();) {
    const std::size_t prefix = from == 0 ? 0 : continuation.size();
    const std::size_t room = std::max(tokens.longest(), prefix) - prefix;
    std::size_t length = std::min(word.size() - from, room);
    piece.assign(continuation, 0, prefix);
    piece.append(word.substr(from, length));
    std::int32_t id = no_token;
    for (; length > 0; --length) {
      if (from + length < word.size() && continues(word[from + length]))
        continue;
      piece.resize(prefix + length);
      id = tokens.id(piece);
      if (id != no_token)
        break;
    }
    if (id == no_token) {
      out.resize(before);
      out.push_back({unknown, first, first + size});
      return;
    }
    const index_t begin = first + static_cast<index_t>(from);
    out.push_back({id, begin, begin + static_cast<index_t>(length)});
    from += length;
  }
}

}  // namespace graft
