// SPDX-License-Identifier: MIT
// Attention over packed sequences on tensor cores (attention_tiles.hpp): the gradient of queries.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/attention_tiles.hpp>
#include <graft/backend/cuda/kernels/probability_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/tensor_core.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/backend/cuda/warp_block.hpp>
#include <graft/core/device_code.hpp>

#include <cstddef>
#include <cstdint>

namespace graft::kernels {

// With p = exp(score − log) and dp = dy · v: dq = scale Σ p (mask dp − dot) k, where dot = Σ p mask dp is
// left in `statistics` [heads, queries]. The dot is known after the last key; until then the mean over the
// keys so far stands for it, and what it was wrong by is made good with seen = Σ p k:
//   Σ p (mask dp − dot) k = Σ p (mask dp − mean) k − (dot − mean) seen.
// kernel(block, n): head n % heads of the query rows of tile n / heads.
template <class T, int Size>
struct tiled_attention_queries {
  static constexpr int warps = 4, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 4 : Size == 64 ? 3 : 2;
  static constexpr int step = Size == 32 ? 32 : 16;  // keys at once
  static constexpr int numbers = detail::tile_numbers<Size>;
  static constexpr int shared_bytes = 4 * numbers * sizeof(T);  // keys and values, twice

  device_view dq;
  query_statistics* statistics;
  const_device_view dy, q, k, v, logs;
  tiled_attention_shape a;
  const row_tile* tiles;

  struct strip {
    per_lane<factor_share> q[Size / 16], dy[Size / 16];
    per_lane<sum_share> dq[Size / 16], seen[Size / 16];
    per_lane<float> log[2], total[2], mean[2];  // the total is Σ p
  };

  GRAFT_DEVICE void operator()(const warp_block<warps>& b, index_t n) const {
    const detail::tile_of_head t(tiles, a.heads, n);
    if (t.rows == 0)
      return;
    const detail::probability_mask mask(a, t.head, t.first, t.rows);
    per_warp<strip, warps> strips;
    detail::pass_tiles<Size, step, shared_bytes / 2>(
        b, t,
        [&](warp w, int number) {
          strip& s = strips[number];
          const int row = t.first + 16 * number, left = t.rows - 16 * number;
          detail::load_strip<T, Size>(w, s.q, q, row, t.head, left);
          detail::load_strip<T, Size>(w, s.dy, dy, row, t.head, left);
          w.lanes([&](int l) {
            GRAFT_UNROLL
            for (int r = 0; r < 2; ++r)
              if (const int i = l / 4 + 8 * r; i < left)
                s.log[r][l] = logs(row + i, t.head) * log2_of_e;
          });
        },
        [&](warp w, int number, int begin, std::byte* tile) {
          detail::bring_tiles<T, Size, warps>(w, number, tile, k, v, t, begin);
        },
        [&](warp w, int number, int begin, int at, const std::byte* tile) {
          add_keys(w, strips[number], tile, at, begin + at, t.others, mask, 16 * number);
        });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      detail::store_strip<T, Size>(w, dq, t.first + 16 * number, t.head, t.rows - 16 * number, s.dq,
                                   [&](int, int) { return a.scale; });
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int r = 0; r < 2; ++r)
          if (const int row = 16 * number + l / 4 + 8 * r; l % 4 == 0 && row < t.rows)
            statistics[t.head * q.rows + t.first + row] = {s.log[r][l], s.mean[r][l]};
      });
    });
  }

 private:
  // The keys from row `at` of the tile on, which are key, key + 1, … of `count`.
  GRAFT_DEVICE void add_keys(warp w, strip& s, const std::byte* shared, int at, int key, int count,
                             const detail::probability_mask& mask, int query) const {
    constexpr int blocks_of_step = step / 16;
    const float unit = a.scale * log2_of_e;
    const T* const keys = reinterpret_cast<const T*>(shared) + at * detail::tile_stride<Size>;
    const T* const values = keys + numbers;
    per_lane<std::uint32_t> kept[blocks_of_step];
    if (mask.acts())
      mask.of_queries(w, kept, query, key);
    per_lane<sum_share> p[blocks_of_step], dp[blocks_of_step];
    detail::add_scores<T, Size>(w, p, s.q, keys);
    detail::add_scores<T, Size>(w, dp, s.dy, values);
    w.lanes([&](int l) {
      detail::each_number<blocks_of_step>([&](int j, int i, int r) {
        const bool there = key + 16 * j + column_of(l, i) < count;
        p[j][l].of[i] = there ? quick_exp2(p[j][l].of[i] * unit - s.log[r][l]) : 0.0f;
      });
    });
    if (mask.acts())
      w.lanes([&](int l) {
        detail::each_number<blocks_of_step>([&](int j, int i, int) {
          dp[j][l].of[i] *= (kept[j][l] >> i & 1) != 0 ? mask.factor() : 0.0f;
        });
      });

    per_lane<float> total[2], dot[2];
    w.lanes([&](int l) {
      detail::each_number<blocks_of_step>([&](int j, int i, int r) {
        total[r][l] += p[j][l].of[i];
        dot[r][l] += p[j][l].of[i] * dp[j][l].of[i];
      });
    });
    for (int r = 0; r < 2; ++r) {
      total[r] = detail::sum_of_row(w, total[r]);
      dot[r] = detail::sum_of_row(w, dot[r]);
    }
    per_lane<factor_share> weights[blocks_of_step], ds[blocks_of_step];
    w.lanes([&](int l) {
      float wrong[2];
      GRAFT_UNROLL
      for (int r = 0; r < 2; ++r) {
        s.total[r][l] += total[r][l];
        const float off = dot[r][l] - s.mean[r][l] * total[r][l];
        wrong[r] = s.total[r][l] > 0 ? off / s.total[r][l] : 0.0f;
        s.mean[r][l] += wrong[r];
      }
      detail::each_number<Size / 16>(
          [&](int c, int i, int r) { s.dq[c][l].of[i] -= wrong[r] * s.seen[c][l].of[i]; });
    });
    detail::round_sums<T>(w, weights, p);
    w.lanes([&](int l) {
      detail::each_number<blocks_of_step>(
          [&](int j, int i, int r) { p[j][l].of[i] *= dp[j][l].of[i] - s.mean[r][l]; });
    });
    detail::round_sums<T>(w, ds, p);
    detail::add_weighted<T, Size>(w, s.dq, ds, keys);
    if (key + step < count)
      detail::add_weighted<T, Size>(w, s.seen, weights, keys);
  }
};

}  // namespace graft::kernels
