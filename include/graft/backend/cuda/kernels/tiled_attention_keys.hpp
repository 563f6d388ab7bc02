// SPDX-License-Identifier: MIT
// Attention over packed sequences on tensor cores (attention_tiles.hpp): the gradients of keys and values.
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

// dk = scale Σ p (mask dp − dot) q, dv = Σ p mask dy over the queries of the keys' sequence.
// kernel(block, n): head n % heads of the key rows of tile n / heads.
template <class T, int Size>
struct tiled_attention_keys {
  static constexpr int warps = 4, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 4 : Size == 64 ? 3 : 2;
  static constexpr int step = 16;  // queries at once
  static constexpr int numbers = detail::tile_numbers<Size>, rows_of_tile = detail::tile_rows<Size>;
  static constexpr int tile_bytes = 2 * numbers * sizeof(T) + rows_of_tile * sizeof(query_statistics);
  static constexpr int shared_bytes = 2 * tile_bytes;  // q, dy and statistics, twice

  device_view dk, dv;
  const_device_view dy, q, k, v;
  const query_statistics* statistics;
  tiled_attention_shape a;
  const row_tile* tiles;

  struct strip {
    per_lane<factor_share> k[Size / 16], v[Size / 16];
    per_lane<sum_share> dk[Size / 16], dv[Size / 16];
  };

  GRAFT_DEVICE void operator()(const warp_block<warps>& b, index_t n) const {
    const detail::tile_of_head t(tiles, a.heads, n);
    if (t.rows == 0)
      return;
    const query_statistics* const known = statistics + t.head * q.rows + t.first_other;
    const detail::probability_mask mask(a, t.head, t.first_other, t.others);
    per_warp<strip, warps> strips;
    detail::pass_tiles<Size, step, tile_bytes>(
        b, t,
        [&](warp w, int number) {
          strip& s = strips[number];
          const int row = t.first + 16 * number, left = t.rows - 16 * number;
          detail::load_strip<T, Size>(w, s.k, k, row, t.head, left);
          detail::load_strip<T, Size>(w, s.v, v, row, t.head, left);
        },
        [&](warp w, int number, int begin, std::byte* tile) {
          auto* const beside = reinterpret_cast<query_statistics*>(reinterpret_cast<T*>(tile) + 2 * numbers);
          const int left = t.others - begin;
          detail::bring_tiles<T, Size, warps>(w, number, tile, q, dy, t, begin);
          w.lanes([&](int l) {
            if (const int i = number * warp::size + l; i < rows_of_tile)
              copy_async<8>(beside + i, known + begin + (i < left ? i : 0), i < left);
          });
        },
        [&](warp w, int number, int begin, int at, const std::byte* tile) {
          add_queries(w, strips[number], tile, at, begin + at, mask, t.place + 16 * number);
        });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      const int row = t.first + 16 * number, left = t.rows - 16 * number;
      detail::store_strip<T, Size>(w, dk, row, t.head, left, s.dk, [&](int, int) { return a.scale; });
      detail::store_strip<T, Size>(w, dv, row, t.head, left, s.dv,
                                   [&](int, int) { return mask.factor(); });
    });
  }

 private:
  // The queries from row `at` of the tile on, which are query, query + 1, …; those beyond the last are
  // zeros in all that the tile has of them, and add nothing.
  GRAFT_DEVICE void add_queries(warp w, strip& s, const std::byte* shared, int at, int query,
                                const detail::probability_mask& mask, int key) const {
    constexpr int blocks_of_step = step / 16;
    const float unit = a.scale * log2_of_e;
    const T* const tile = reinterpret_cast<const T*>(shared);
    const T* const rows_of_q = tile + at * detail::tile_stride<Size>;
    const T* const rows_of_dy = rows_of_q + numbers;
    const auto* const known = reinterpret_cast<const query_statistics*>(tile + 2 * numbers) + at;
    per_lane<std::uint32_t> kept[blocks_of_step];
    const bool drops = mask.acts();
    if (drops)
      mask.of_keys(w, kept, query, key);
    per_lane<sum_share> p[blocks_of_step], ds[blocks_of_step];  // ds is dp at first
    detail::add_scores<T, Size>(w, p, s.k, rows_of_q);
    detail::add_scores<T, Size>(w, ds, s.v, rows_of_dy);
    w.lanes([&](int l) {
      detail::each_number<blocks_of_step>([&](int j, int i, int) {
        const query_statistics of = known[16 * j + column_of(l, i)];
        const float weight = quick_exp2(p[j][l].of[i] * unit - of.log);
        const bool stays = !drops || (kept[j][l] >> i & 1) != 0;
        ds[j][l].of[i] = weight * ((stays ? ds[j][l].of[i] * mask.factor() : 0.0f) - of.dot);
        p[j][l].of[i] = stays ? weight : 0.0f;
      });
    });
    per_lane<factor_share> to_key[blocks_of_step], to_value[blocks_of_step];
    detail::round_sums<T>(w, to_value, p);
    detail::round_sums<T>(w, to_key, ds);
    detail::add_weighted<T, Size>(w, s.dv, to_value, rows_of_dy);
    detail::add_weighted<T, Size>(w, s.dk, to_key, rows_of_q);
  }
};

}  // namespace graft::kernels
