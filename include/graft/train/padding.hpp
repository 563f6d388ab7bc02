// SPDX-License-Identifier: MIT
// Batches of few different sizes: a device that replays the steps of equal ones need not learn many.
#pragma once

#include <graft/core/layout.hpp>
#include <graft/core/plain.hpp>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace graft {

// By how much sizes near n differ: an eighth of the power of two below, at least 16.
constexpr index_t bucket_step(index_t n) {
  return n <= 1 ? 16
                : std::max<index_t>(16, static_cast<index_t>(
                                            std::bit_floor(static_cast<std::uint64_t>(n - 1)) / 8));
}

// The least size that is not below n: at most 12.5 % (or 15) more.
constexpr index_t bucket_of(index_t n) {
  return (n + bucket_step(n) - 1) / bucket_step(n) * bucket_step(n);
}

// The lengths of sequences that make a batch's rows bucket_of(rows). How many there are follows from that
// and the power of two below the longest sequence; no one is longer than it, some may be empty.
GRAFT_PLAIN std::vector<index_t> padding_of(const layout& batch);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN std::vector<index_t> padding_of(const layout& batch) {
  index_t longest = 1;
  for (index_t s = 0; s < batch.sequences(); ++s)
    longest = std::max(longest, batch.length(s));
  const auto piece = static_cast<index_t>(std::bit_floor(static_cast<std::uint64_t>(longest)));
  index_t rest = bucket_of(batch.rows()) - batch.rows();
  std::vector<index_t> lengths(
      static_cast<std::size_t>((bucket_step(batch.rows()) - 2 + piece) / piece));
  for (index_t& length : lengths) {
    length = std::min(piece, rest);
    rest -= length;
  }
  return lengths;
}

}  // namespace graft

#endif
