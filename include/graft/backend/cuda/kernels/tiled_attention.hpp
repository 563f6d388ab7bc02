// SPDX-License-Identifier: MIT
// Attention over packed sequences on tensor cores (attention_tiles.hpp): forward.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/attention_tiles.hpp>
#include <graft/backend/cuda/kernels/probability_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/tensor_core.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/backend/cuda/warp_block.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace graft::kernels {

// kernel(block, n): head n % heads of the query rows of tile n / heads.
template <class T, int Size>
struct tiled_attention {
  static constexpr int warps = Size == 32 ? 4 : 8, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 6 : Size == 64 ? 2 : 1;  // at once on a multiprocessor
  static constexpr int step = 32;                                     // keys at once
  static constexpr int numbers = detail::tile_numbers<Size>;
  static constexpr int shared_bytes = 4 * numbers * sizeof(T);  // keys and values, twice

  device_view y, logs;
  const_device_view q, k, v;
  tiled_attention_shape a;
  const row_tile* tiles;

  struct strip {
    per_lane<factor_share> q[Size / 16];
    per_lane<sum_share> y[Size / 16];
    per_lane<float> most[2], total[2];  // the total is of the lane's columns
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
          detail::load_strip<T, Size>(w, s.q, q, t.first + 16 * number, t.head, t.rows - 16 * number);
          w.lanes([&](int l) { s.most[0][l] = s.most[1][l] = -HUGE_VALF; });
        },
        [&](warp w, int number, int begin, std::byte* tile) {
          detail::bring_tiles<T, Size, warps>(w, number, tile, k, v, t, begin);
        },
        [&](warp w, int number, int begin, int at, const std::byte* tile) {
          add_keys(w, strips[number], tile, at, begin + at, t.others, mask, 16 * number);
        });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      per_lane<float> total[2];
      for (int r = 0; r < 2; ++r)
        total[r] = detail::sum_of_row(w, s.total[r]);
      detail::store_strip<T, Size>(
          w, y, t.first + 16 * number, t.head, t.rows - 16 * number, s.y,
          [&](int l, int r) { return t.others > 0 ? mask.factor() / total[r][l] : 0.0f; });
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int r = 0; r < 2; ++r)
          if (const int row = 16 * number + l / 4 + 8 * r; l % 4 == 0 && row < t.rows)
            logs.set(t.first + row, t.head,
                     t.others > 0 ? s.most[r][l] * a.scale + logf(total[r][l]) : -HUGE_VALF);
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
    per_lane<sum_share> p[blocks_of_step];  // scores at first
    detail::add_scores<T, Size>(w, p, s.q, keys);
    if (key + step > count)
      w.lanes([&](int l) {
        detail::each_number<blocks_of_step>([&](int j, int i, int) {
          if (key + 16 * j + column_of(l, i) >= count)
            p[j][l].of[i] = -HUGE_VALF;
        });
      });

    per_lane<float> next[2];
    w.lanes([&](int l) {
      next[0][l] = s.most[0][l];
      next[1][l] = s.most[1][l];
      detail::each_number<blocks_of_step>(
          [&](int j, int i, int r) { next[r][l] = fmaxf(next[r][l], p[j][l].of[i]); });
    });
    for (int r = 0; r < 2; ++r)
      next[r] = detail::max_of_row(w, next[r]);
    w.lanes([&](int l) {
      float shrink[2], base[2];
      GRAFT_UNROLL
      for (int r = 0; r < 2; ++r) {
        shrink[r] = quick_exp2((s.most[r][l] - next[r][l]) * unit);
        base[r] = next[r][l] * unit;
        s.most[r][l] = next[r][l];
        s.total[r][l] *= shrink[r];
      }
      detail::each_number<blocks_of_step>([&](int j, int i, int r) {
        p[j][l].of[i] = quick_exp2(p[j][l].of[i] * unit - base[r]);
        s.total[r][l] += p[j][l].of[i];
      });
      detail::each_number<Size / 16>([&](int c, int i, int r) { s.y[c][l].of[i] *= shrink[r]; });
    });
    if (mask.acts())
      w.lanes([&](int l) {
        detail::each_number<blocks_of_step>([&](int j, int i, int) {
          if (!(kept[j][l] >> i & 1))
            p[j][l].of[i] = 0;
        });
      });

    per_lane<factor_share> weights[blocks_of_step];
    detail::round_sums<T>(w, weights, p);
    detail::add_weighted<T, Size>(w, s.y, weights, values);
  }
};

}  // namespace graft::kernels
