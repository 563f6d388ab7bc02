// SPDX-License-Identifier: MIT
// Texts and tokens that know which bytes of an original text they stand for.
#pragma once

#include <graft/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace graft {

// The bytes first, …, end - 1 of a text.
struct byte_range {
  index_t first = 0;
  index_t end = 0;

  friend bool operator==(const byte_range&, const byte_range&) = default;
};

// A token and the bytes of the text that it stands for.
struct placed_token {
  std::int32_t id = 0;
  index_t first = 0;
  index_t end = 0;

  friend bool operator==(const placed_token&, const placed_token&) = default;
};

inline std::vector<std::int32_t> ids_of(std::span<const placed_token> tokens) {
  std::vector<std::int32_t> ids;
  ids.reserve(tokens.size());
  for (const placed_token& token : tokens)
    ids.push_back(token.id);
  return ids;
}

// A text made from another one: its byte i stands for the bytes places[i] of the other. Places do
// not go backwards.
struct placed_text {
  std::string text;
  std::vector<byte_range> places;

  // Of the bytes first, …, end - 1 of `text`.
  byte_range place_of(index_t first, index_t end) const {
    const auto at = [&](index_t i) { return places[static_cast<std::size_t>(i)]; };
    if (first < end)
      return {at(first).first, at(end - 1).end};
    const index_t nowhere = first > 0 ? at(first - 1).end : 0;
    return {nowhere, nowhere};
  }
};

}  // namespace graft
