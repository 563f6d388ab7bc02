// SPDX-License-Identifier: MIT
// The tokens of a text and where they stand in it.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/added_tokens.hpp>
#include <graft/text/byte_bpe.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/tokenizer_parts.hpp>
#include <graft/text/unicode.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>
#include <variant>
#include <vector>

namespace graft {

// The tokens of a text, without special tokens around it, and the bytes of the text that each
// stands for. A token covers the characters that it was made from, whole: the "e" of "é" has both
// bytes of "é", and tokens that share the bytes of one character have the same range. What
// normalisation drops (accents written apart, control characters) belongs to a token only where it
// stands between two characters of that token. Blanks at either end of a byte-level token are not
// in its range, which is empty for a token of blanks alone; nor is the white space that an added
// token takes, unless the other tokens are WordPiece's. These are the offsets of Hugging Face's
// fast tokenizers, but where add_prefix_space acts: there theirs take in a blank that the text
// begins with, and leave out a character behind an added token.
//
// `after_blank`: a byte-level text that does not begin with a blank is taken to follow one. Throws
// input_error with the position of the first bad byte when the text is not UTF-8.
inline std::vector<placed_token> placed_tokens(const tokenizer_parts& parts, std::string_view text,
                                               bool after_blank = false) {
  if (const index_t at = unicode::first_invalid_byte(text); at >= 0)
    throw input_error("byte " + std::to_string(at) + ": expected UTF-8, found an invalid sequence");
  std::vector<placed_token> tokens;
  const bool byte_level = std::holds_alternative<byte_bpe>(parts.model);
  const auto add_one = [&](const text_piece& piece, index_t first) {
    const std::string_view content = piece.token->content;
    if (byte_level)
      first += static_cast<index_t>(piece.text.find(content));
    const std::size_t size = byte_level ? content.size() : piece.text.size();
    tokens.push_back({piece.token->id, first, first + static_cast<index_t>(size)});
  };
  const auto append = [&](const auto& model, std::string_view part) {
    if constexpr (std::is_same_v<decltype(model), const byte_bpe&>)
      model.append(part, tokens, after_blank || model.add_prefix_space);
    else
      model.append(part, tokens);
  };
  // `from` is where the piece begins in the text.
  const auto add_all = [&](const auto& model, std::string_view piece, index_t from) {
    const placed_text normalized = model.normalized(piece);
    for (const auto& part : parts.in_normalized_text.split(normalized.text)) {
      const std::size_t before = tokens.size();
      if (part.token != nullptr)
        add_one(part, 0);
      else
        append(model, part.text);
      const index_t part_first = part.text.data() - normalized.text.data();
      for (std::size_t i = before; i < tokens.size(); ++i) {
        auto& [id, first, end] = tokens[i];
        const byte_range place = normalized.place_of(part_first + first, part_first + end);
        first = from + place.first;
        end = from + place.end;
      }
    }
  };
  for (const auto& piece : parts.in_raw_text.split(text)) {
    const index_t from = piece.text.data() - text.data();
    if (piece.token != nullptr)
      add_one(piece, from);
    else
      std::visit([&](const auto& model) { add_all(model, piece.text, from); }, parts.model);
  }
  return tokens;
}

}  // namespace graft
