// SPDX-License-Identifier: MIT
// A packed batch of token ids.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/plain.hpp>

#include <cstdint>
#include <span>
#include <vector>

namespace graft {

// The tokens of all sequences, one after another. `types` are segment numbers, `positions` count from
// `first_position` in every sequence.
struct token_batch {
  std::vector<std::int32_t> ids, types, positions;
  layout rows;

  void clear() {
    ids.clear();
    types.clear();
    positions.clear();
    rows.clear();
  }
  // Adds a sequence; without types, all are 0. Throws shape_error for another number of types than of
  // tokens.
  void append(std::span<const std::int32_t> tokens, std::span<const std::int32_t> token_types,
              std::uint32_t example, std::int32_t first_position, std::uint32_t task = 0);
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void token_batch::append(std::span<const std::int32_t> tokens,
                                     std::span<const std::int32_t> token_types,
                                     std::uint32_t example, std::int32_t first_position, std::uint32_t task) {
  if (!token_types.empty())
    expect_size("token types", static_cast<index_t>(tokens.size()),
                static_cast<index_t>(token_types.size()));
  ids.insert(ids.end(), tokens.begin(), tokens.end());
  if (token_types.empty())
    types.resize(types.size() + tokens.size(), 0);
  else
    types.insert(types.end(), token_types.begin(), token_types.end());
  for (std::size_t t = 0; t < tokens.size(); ++t)
    positions.push_back(first_position + static_cast<std::int32_t>(t));
  rows.append(static_cast<index_t>(tokens.size()), example, task);
}

}  // namespace graft

#endif
