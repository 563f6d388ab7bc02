// SPDX-License-Identifier: MIT
// Dropout of attention's probabilities, as tensor cores have them.
#pragma once

#include <graft/backend/cuda/kernels/attention_tiles.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/layout.hpp>

#include <cmath>
#include <cstdint>

namespace graft::kernels::detail {

// Dropout of one head's probabilities over 16 × 16 of them. A draw is for four keys in a row; each lane
// makes one of those that it shares with others.
struct probability_mask {
  const tiled_attention_shape& a;
  int first, count;  // the queries' rows in the batch; here they are counted from 0
  std::uint32_t head, limit;

  GRAFT_DEVICE probability_mask(const tiled_attention_shape& shape, int h, int query, int queries)
      : a(shape),
        first(query),
        count(queries),
        head(static_cast<std::uint32_t>(h) << 20),
        limit(static_cast<std::uint32_t>(ceil(static_cast<double>(a.mask.rate) * 0x1p32))) {}

  GRAFT_DEVICE bool acts() const { return a.mask.acts(); }
  GRAFT_DEVICE float factor() const { return acts() ? 1.0f / (1.0f - a.mask.rate) : 1.0f; }

  // Bit i of kept[j] says whether a lane's number i of block j is kept, the blocks' rows being queries and
  // their columns keys, those of block j from key + 16 j on …
  template <int Blocks>
  GRAFT_DEVICE void of_queries(warp w, per_lane<std::uint32_t> (&kept)[Blocks], int query, int key) const {
    GRAFT_UNROLL
    for (int j = 0; j < Blocks; ++j)
      kept[j] = of_queries(w, query, key + 16 * j);
  }
  // … or their rows being keys and their columns queries, from query + 16 j on.
  template <int Blocks>
  GRAFT_DEVICE void of_keys(warp w, per_lane<std::uint32_t> (&kept)[Blocks], int query, int key) const {
    GRAFT_UNROLL
    for (int j = 0; j < Blocks; ++j)
      kept[j] = of_keys(w, query + 16 * j, key);
  }

 private:
  // The same of one block.
  GRAFT_DEVICE per_lane<std::uint32_t> of_queries(warp w, int query, int key) const {
    per_lane<std::uint32_t> kept;
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      per_lane<std::uint32_t> drawn;
      w.lanes([&](int l) {
        const int r = l % 2;
        drawn[l] = draw(query + l / 4 + 8 * r, key + 8 * half + l % 4 / 2 * 4) << 4 * r;
      });
      const auto other = w.across(drawn, 1);
      w.lanes([&](int l) {
        const std::uint32_t both = drawn[l] | other[l];
        GRAFT_UNROLL
        for (int i = 0; i < 4; ++i)
          kept[l] |= (both >> (i / 2 * 4 + l % 2 * 2 + i % 2) & 1) << (4 * half + i);
      });
    }
    return kept;
  }
  GRAFT_DEVICE per_lane<std::uint32_t> of_keys(warp w, int query, int key) const {
    per_lane<std::uint32_t> kept;
    GRAFT_UNROLL
    for (int half = 0; half < 2; ++half) {
      per_lane<std::uint32_t> drawn;
      w.lanes([&](int l) {
        const int i = l / 4 % 4;
        drawn[l] = draw(query + 8 * half + l % 4 * 2 + i % 2, key + i / 2 * 8 + l / 16 * 4) << 4 * i;
      });
      GRAFT_UNROLL
      for (int step = 4; step < 16; step *= 2) {
        const auto other = w.across(drawn, step);
        w.lanes([&](int l) { drawn[l] |= other[l]; });
      }
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int i = 0; i < 4; ++i)
          kept[l] |= (drawn[l] >> (4 * i + l / 4 % 4) & 1) << (4 * half + i);
      });
    }
    return kept;
  }
  // Bit i is for key + i.
  GRAFT_DEVICE std::uint32_t draw(int query, int key) const {
    const row_name name = a.names[first + (query < count ? query : count - 1)];
    const dropout_words words = a.mask.words(name, head + static_cast<std::uint32_t>(key) / 4);
    std::uint32_t bits = 0;
    GRAFT_UNROLL
    for (int i = 0; i < 4; ++i)
      bits |= static_cast<std::uint32_t>(words.of[i] >= limit) << i;
    return bits;
  }
};

}  // namespace graft::kernels::detail
