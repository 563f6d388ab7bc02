// SPDX-License-Identifier: MIT
// Tokens that are recognised in running text before anything else looks at it: [CLS], <mask>, and
// whatever a checkpoint adds.
#pragma once

#include <graft/text/unicode.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

struct added_token {
  std::string content;
  std::int32_t id = 0;
  bool single_word = false;  // only where no word character touches it
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalised text, not in the raw one
};

// A stretch of text, or one added token where `token` is not null.
struct text_piece {
  std::string_view text;
  const added_token* token = nullptr;
};

// A set of added tokens and its search. Of the tokens that match at the leftmost place, the longest
// wins; a token that then fails `single_word` is passed over as a whole.
class added_tokens {
 public:
  added_tokens() = default;

  // Contents must be UTF-8 and not empty.
  explicit added_tokens(std::vector<added_token> tokens) : tokens_(std::move(tokens)) {
    for (std::size_t i = 0; i < tokens_.size(); ++i)
      starting_with_[first_byte(tokens_[i].content)].push_back(i);
    for (auto& list : starting_with_)
      std::stable_sort(list.begin(), list.end(), [&](std::size_t a, std::size_t b) {
        return tokens_[a].content.size() > tokens_[b].content.size();
      });
  }

  const std::vector<added_token>& tokens() const { return tokens_; }

  // The pieces of `text` (UTF-8) in order, none of them empty. They refer to `text` and to *this.
  std::vector<text_piece> split(std::string_view text) const {
    std::vector<text_piece> pieces;
    std::size_t done = 0;
    for (std::size_t at = 0; at < text.size();) {
      const added_token* token = longest_at(text.substr(at));
      if (token == nullptr) {
        ++at;
        continue;
      }
      std::size_t from = at;
      std::size_t to = at + token->content.size();
      at = to;
      if (token->single_word && (ends_in_word(text.substr(0, from)) || starts_in_word(text, to)))
        continue;
      if (token->lstrip)
        from = done + without_trailing_space(text.substr(done, from - done));
      if (token->rstrip)
        at = to = after_space(text, to);
      if (done < from)
        pieces.push_back({text.substr(done, from - done)});
      pieces.push_back({text.substr(from, to - from), token});
      done = to;
    }
    if (done < text.size())
      pieces.push_back({text.substr(done)});
    return pieces;
  }

 private:
  static std::size_t first_byte(std::string_view text) {
    return static_cast<unsigned char>(text.front());
  }

  const added_token* longest_at(std::string_view text) const {
    for (const std::size_t i : starting_with_[first_byte(text)])
      if (text.starts_with(tokens_[i].content))
        return &tokens_[i];
    return nullptr;
  }

  static char32_t last_point(std::string_view text, std::size_t& start) {
    start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80)
      --start;
    return unicode::decode_front(text.substr(start)).point;
  }

  static bool ends_in_word(std::string_view text) {
    std::size_t start = 0;
    return !text.empty() && unicode::is_word(last_point(text, start));
  }

  static bool starts_in_word(std::string_view text, std::size_t at) {
    return at < text.size() && unicode::is_word(unicode::decode_front(text.substr(at)).point);
  }

  static std::size_t without_trailing_space(std::string_view text) {
    std::size_t start = 0;
    while (!text.empty() && unicode::is_space(last_point(text, start)))
      text.remove_suffix(text.size() - start);
    return text.size();
  }

  static std::size_t after_space(std::string_view text, std::size_t at) {
    while (at < text.size()) {
      const auto front = unicode::decode_front(text.substr(at));
      if (!unicode::is_space(front.point))
        break;
      at += static_cast<std::size_t>(front.length);
    }
    return at;
  }

  std::vector<added_token> tokens_;
  std::array<std::vector<std::size_t>, 256> starting_with_;
};

}  // namespace graft
