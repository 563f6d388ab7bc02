// SPDX-License-Identifier: MIT
// Text to token ids, as the checkpoint was trained with.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/view.hpp>
#include <graft/text/placed_text.hpp>
#include <graft/text/sequence_template.hpp>
#include <graft/text/token_places.hpp>
#include <graft/text/tokenizer_files.hpp>

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace graft {

// BERT's WordPiece or RoBERTa's byte-level BPE, id for id as Hugging Face's fast tokenizers.
struct tokenizer {
  tokenizer_parts parts;

  // Opens a checkpoint folder with tokenizer.json, vocab.txt, or vocab.json and merges.txt, in this
  // order. Throws checkpoint_error.
  static tokenizer load(const std::string& folder) { return {read_tokenizer(folder)}; }

  // At most `max_length` ids, special tokens included; what does not fit is cut off at the end.
  // Throws input_error when the text is not UTF-8, naming the byte, and when `max_length` leaves no
  // room for the special tokens.
  encoded encode(std::string_view text, index_t max_length) const {
    const auto ids = tokenize(text);
    const index_t room = room_for_text(parts.single, max_length);
    return arrange(parts.single, ids, std::min(room, static_cast<index_t>(ids.size())), {}, 0);
  }

  // A pair of texts; tokens are cut from the longer one first.
  encoded encode(std::string_view first, std::string_view second, index_t max_length) const {
    const auto a = tokenize(first);
    const auto b = tokenize(second);
    const auto [keep_a, keep_b] =
        longest_first(static_cast<index_t>(a.size()), static_cast<index_t>(b.size()),
                      room_for_text(parts.pair, max_length));
    return arrange(parts.pair, a, keep_a, b, keep_b);
  }

  // The ids of a text alone, without special tokens around it. Throws as encode does.
  std::vector<std::int32_t> tokenize(std::string_view text) const {
    return ids_of(placed_tokens(parts, text));
  }

  // One more than the largest id: the rows that a word embedding needs.
  index_t vocabulary_size() const { return static_cast<index_t>(table().size()); }

  // Throws input_error for an id without a token.
  const std::string& token(std::int32_t id) const {
    if (const auto* text = table().text(id))
      return *text;
    throw input_error("token id: expected one of the vocabulary, found " + std::to_string(id));
  }

  // no_token (-1) where the checkpoint has none.
  std::int32_t id(std::string_view token) const { return table().id(token); }
  std::int32_t pad_id() const { return parts.special.pad; }
  std::int32_t unk_id() const { return parts.special.unk; }
  std::int32_t cls_id() const { return parts.special.cls; }
  std::int32_t sep_id() const { return parts.special.sep; }
  std::int32_t mask_id() const { return parts.special.mask; }

 private:
  const token_table& table() const {
    return std::visit([](const auto& m) -> const token_table& { return m.tokens; }, parts.model);
  }
};

// The same with the bytes of the text that each token stands for.
inline std::vector<placed_token> placed_tokens(const tokenizer& t, std::string_view text) {
  return placed_tokens(t.parts, text);
}

}  // namespace graft
