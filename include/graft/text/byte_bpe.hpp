// SPDX-License-Identifier: MIT
// The byte-level byte-pair encoding of GPT-2 and RoBERTa: every text is spelled from 256 bytes, so
// nothing is unknown.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/token_table.hpp>
#include <graft/text/unicode.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace graft {

// A merge that names a token which the vocabulary lacks.
struct merge_error : checkpoint_error {
  std::size_t rank;
  std::string token;

  merge_error(std::size_t at, const std::string& name)
      : checkpoint_error("merge " + std::to_string(at) +
                         ": expected tokens of the vocabulary, found \"" + name + "\""),
        rank(at),
        token(name) {}
};

// Splits a text into words and merges the bytes of each word, the best-ranked neighbours first and
// the leftmost of equals. A byte that the vocabulary lacks is `unknown`, or left out where that is
// no_token. n bytes of a word cost n log n. Sennrich et al. 2016, arXiv:1508.07909; Radford et al.
// 2019.
class byte_bpe {
 public:
  token_table tokens;  // in the visible alphabet of byte_symbols()
  std::int32_t unknown = no_token;
  bool add_prefix_space = false;  // a text that does not begin with a blank is given one

  byte_bpe() = default;

  // `merges` in the order of their rank. Throws merge_error for one whose parts or whole are not
  // among the tokens.
  byte_bpe(token_table table, const std::vector<std::pair<std::string, std::string>>& merges);

  // The text as it is.
  placed_text normalized(std::string_view text) const;

  // Appends the tokens of a text (UTF-8) with their places in it, blanks at either end of a token
  // left out. `after_blank`: a text that does not begin with a blank is given one.
  void append(std::string_view text, std::vector<placed_token>& out, bool after_blank) const;
  void append(std::string_view text, std::vector<placed_token>& out) const {
    append(text, out, add_prefix_space);
  }

 private:
  struct merge {
    std::int32_t rank;
    std::int32_t id;
  };

  static std::uint64_t key(std::int32_t left, std::int32_t right) {
    return (static_cast<std::uint64_t>(left) << 32) | static_cast<std::uint64_t>(right);
  }

  void append_word(std::string_view word, index_t first, std::vector<placed_token>& out) const;

  std::unordered_map<std::uint64_t, merge> merges_;
  std::array<std::int32_t, 256> byte_ids_{};
};

namespace text_detail {

// The visible character that stands for each byte: itself where Latin-1 prints it, else the next
// one from U+0100 on.
inline std::array<std::string, 256> byte_symbols() {
  std::array<std::string, 256> symbols;
  char32_t next = 0x100;
  for (char32_t b = 0; b < 256; ++b) {
    const bool visible = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    unicode::append(symbols[b], visible ? b : next++);
  }
  return symbols;
}

enum class word_kind { space, letter, number, other };

inline word_kind kind_of(char32_t c) {
  if (unicode::is_space(c))
    return word_kind::space;
  if (unicode::is_letter(c))
    return word_kind::letter;
  return unicode::is_number(c) ? word_kind::number : word_kind::other;
}

// Where the run of characters of one kind that begins at `from` ends; `last` is where its last
// character begins.
inline std::size_t end_of_run(std::string_view text, std::size_t from, word_kind kind,
                              std::size_t& last) {
  std::size_t at = from;
  while (at < text.size()) {
    const auto front = unicode::decode_front(text.substr(at));
    if (kind_of(front.point) != kind)
      break;
    last = at;
    at += static_cast<std::size_t>(front.length);
  }
  return at;
}

// The end of GPT-2's word at `from`:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
inline std::size_t end_of_gpt2_word(std::string_view text, std::size_t from) {
  const std::string_view rest = text.substr(from);
  for (const std::string_view ending : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (rest.starts_with(ending))
      return from + ending.size();

  const auto kind_at = [&](std::size_t at) {
    return kind_of(unicode::decode_front(text.substr(at)).point);
  };
  std::size_t last = from;
  const std::size_t start = rest.front() == ' ' && rest.size() > 1 ? from + 1 : from;
  if (const word_kind kind = kind_at(start); kind != word_kind::space)
    return end_of_run(text, start, kind, last);

  // White space leaves its last character to the word that follows, if it has another.
  const std::size_t end = end_of_run(text, from, word_kind::space, last);
  return end == text.size() || last == from ? end : last;
}

}  // namespace text_detail

inline byte_bpe::byte_bpe(token_table table,
                          const std::vector<std::pair<std::string, std::string>>& merges)
    : tokens(std::move(table)) {
  const auto known = [&](const std::string& token, std::size_t rank) {
    const std::int32_t id = tokens.id(token);
    if (id == no_token)
      throw merge_error(rank, token);
    return id;
  };
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto pair = key(known(left, rank), known(right, rank));
    merges_.insert_or_assign(pair,
                             merge{static_cast<std::int32_t>(rank), known(left + right, rank)});
  }
  const auto symbols = text_detail::byte_symbols();
  for (std::size_t b = 0; b < 256; ++b)
    byte_ids_[b] = tokens.id(symbols[b]);
}

inline placed_text byte_bpe::normalized(std::string_view text) const {
  placed_text out{std::string(text), {}};
  out.places.reserve(text.size());
  unicode::for_each_point(text, [&](char32_t, index_t first, index_t end) {
    out.places.resize(static_cast<std::size_t>(end), {first, end});
  });
  return out;
}

inline void byte_bpe::append(std::string_view text, std::vector<placed_token>& out,
                             bool after_blank) const {
  std::string prefixed;
  index_t first = 0;
  if (after_blank && !text.starts_with(' ')) {
    prefixed = " " + std::string(text);
    text = prefixed;
    first = -1;
  }
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text_detail::end_of_gpt2_word(text, at);
    append_word(text.substr(at, end - at), first + static_cast<index_t>(at), out);
    at = end;
  }
}

// `first` is where the word begins: -1 where that is the blank before the text.
inline void byte_bpe::append_word(std::string_view word, index_t first,
                                  std::vector<placed_token>& out) const {
  // A doubly linked list over the bytes; a symbol that was merged into its left neighbour has the
  // id `merged`.
  struct symbol {
    std::int32_t id;
    index_t previous;
    index_t next;
    std::size_t begin;  // its bytes of the word
    std::size_t end;
  };
  struct candidate {
    std::int32_t rank;
    index_t left;
    std::uint64_t pair;

    bool operator>(const candidate& other) const {
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  constexpr std::int32_t merged = -2;

  std::vector<symbol> symbols;
  symbols.reserve(word.size());
  for (std::size_t i = 0; i < word.size(); ++i) {
    std::int32_t id = byte_ids_[static_cast<unsigned char>(word[i])];
    if (id == no_token)
      id = unknown;
    if (id == no_token)
      continue;
    const auto at = static_cast<index_t>(symbols.size());
    symbols.push_back({id, at - 1, at + 1, i, i + 1});
  }
  if (symbols.empty())
    return;
  const auto count = static_cast<index_t>(symbols.size());
  const auto at = [&](index_t i) -> symbol& { return symbols[static_cast<std::size_t>(i)]; };

  std::priority_queue<candidate, std::vector<candidate>, std::greater<>> queue;
  const auto consider = [&](index_t left) {
    if (left < 0 || at(left).next >= count)
      return;
    const auto pair = key(at(left).id, at(at(left).next).id);
    if (const auto found = merges_.find(pair); found != merges_.end())
      queue.push({found->second.rank, left, pair});
  };
  for (index_t i = 0; i + 1 < count; ++i)
    consider(i);

  while (!queue.empty()) {
    const candidate best = queue.top();
    queue.pop();
    symbol& left = at(best.left);
    if (left.id == merged || left.next >= count)
      continue;
    symbol& right = at(left.next);
    if (key(left.id, right.id) != best.pair)
      continue;  // a neighbour has changed since
    left.id = merges_.at(best.pair).id;
    right.id = merged;
    left.next = right.next;
    left.end = right.end;
    if (left.next < count)
      at(left.next).previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (index_t i = 0; i < count; i = at(i).next) {
    auto [id, previous, next, begin, end] = at(i);
    while (begin < end && word[begin] == ' ')
      ++begin;
    while (begin < end && word[end - 1] == ' ')
      --end;
    out.push_back({id, std::max<index_t>(first + static_cast<index_t>(begin), 0),
                   std::max<index_t>(first + static_cast<index_t>(end), 0)});
  }
}

}  // namespace graft
