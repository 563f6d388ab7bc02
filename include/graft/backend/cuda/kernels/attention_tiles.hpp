// SPDX-License-Identifier: MIT
// What the attention kernels on tensor cores have in common (Dao 2023, arXiv:2307.08691), for numbers of 16
// bits and heads of 32, 64 or 128 of them: memory linear in the sequence length, every sum in a fixed order. A
// warp keeps a strip, 16 rows of one head, in registers, and what they meet passes by in tiles in shared memory.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/tensor_core.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/backend/cuda/warp_block.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/layout.hpp>

#include <cmath>
#include <cstddef>
#include <type_traits>

namespace graft::kernels {

inline constexpr float log2_of_e = 1.44269504f;

// What forward and backward have in common.
struct tiled_attention_shape {
  index_t heads;
  float scale;
  dropout_mask mask;
  const row_name* names;  // of the queries, where dropout acts
};

// What the gradients of keys need of a query: its log in base 2, and Σ p mask dp.
struct query_statistics {
  float log, dot;
};

namespace detail {

// Tile n / heads, of head n % heads: a block's work.
struct tile_of_head : row_tile {
  int head;
  GRAFT_DEVICE tile_of_head(const row_tile* tiles, index_t heads, index_t n)
      : row_tile(tiles[static_cast<int>(n) / static_cast<int>(heads)]),
        head(static_cast<int>(n) % static_cast<int>(heads)) {}
};

// Rows of a tile in shared memory.
template <int Size>
inline constexpr int tile_rows = Size < 128 ? 64 : 32;
// Numbers from row to row of a tile: 16 bytes more than a row has, so that the 8 rows that are loaded at
// once lie in different banks.
template <int Size>
inline constexpr int tile_stride = Size + 8;
template <int Size>
inline constexpr int tile_numbers = tile_rows<Size> * tile_stride<Size>;

// The columns of head h of x, from a row on.
template <class T, int Size, bool Writable>
GRAFT_DEVICE auto head_of(const device_matrix<Writable>& x, index_t row, index_t h) {
  using number = std::conditional_t<Writable, T, const T>;
  return static_cast<number*>(x.data) + row * x.stride + h * Size;
}

// A warp's part of bringing rows of a head into a tile, as far as there are `left`; zeros below.
template <class T, int Size, int Warps>
GRAFT_DEVICE void bring_tile(warp w, int number, T* tile, const const_device_view& x, int from, int h,
                             int left) {
  constexpr int pieces = Size / 8, together = Warps * warp::size / pieces;  // in a row; rows at once
  static_assert(tile_rows<Size> % together == 0);
  const T* const rows = head_of<T, Size>(x, from, h);
  w.lanes([&](int l) {
    const int first = (number * warp::size + l) / pieces, at = l % pieces * 8;
    GRAFT_UNROLL
    for (int row = first; row < first + tile_rows<Size>; row += together) {
      const bool there = row < left;
      copy_async<16>(tile + row * tile_stride<Size> + at, rows + (there ? row : 0) * x.stride + at,
                     there);
    }
  });
}
// Of what the block meets, from row `begin` on: the rows of x and of y, one tile behind the other.
template <class T, int Size, int Warps>
GRAFT_DEVICE void bring_tiles(warp w, int number, std::byte* tiles, const const_device_view& x,
                              const const_device_view& y, const tile_of_head& t, int begin) {
  T* const to = reinterpret_cast<T*>(tiles);
  const int row = t.first_other + begin, left = t.others - begin;
  bring_tile<T, Size, Warps>(w, number, to, x, row, t.head, left);
  bring_tile<T, Size, Warps>(w, number, to + tile_numbers<Size>, y, row, t.head, left);
}

// Lets all that the block meets pass by, in tiles of `Bytes` in two places by turns: bring(warp, number, begin,
// tile) fills one while the other is in use, then add(warp, number, begin, at, tile) takes it, `Step` rows at a
// time, those from row `at` on. load(warp, number) comes before them.
template <int Size, int Step, int Bytes, int Warps, class Load, class Bring, class Add>
GRAFT_DEVICE void pass_tiles(const warp_block<Warps>& b, const tile_of_head& t, const Load& load,
                             const Bring& bring, const Add& add) {
  constexpr int rows = tile_rows<Size>;
  const auto tile_at = [&](int begin) { return b.shared + begin / rows % 2 * Bytes; };
  b.warps([&](warp w, int number) {
    if (t.others > 0)
      bring(w, number, 0, tile_at(0));
    load(w, number);
    wait_for_copies();
  });
  for (int begin = 0; begin < t.others; begin += rows)
    b.warps([&](warp w, int number) {
      if (begin + rows < t.others)
        bring(w, number, begin + rows, tile_at(begin + rows));
      if (16 * number < t.rows)
        for (int at = 0; at < rows && begin + at < t.others; at += Step)
          add(w, number, begin, at, tile_at(begin));
      wait_for_copies();
    });
}

// 16 rows of a head as left factors, as far as there are `left`; zeros below.
template <class T, int Size>
GRAFT_DEVICE void load_strip(warp w, per_lane<factor_share> (&f)[Size / 16], const const_device_view& x,
                             int from, int h, int left) {
  const T* const rows = head_of<T, Size>(x, from, h);
  w.lanes([&](int l) {
    GRAFT_UNROLL
    for (int c = 0; c < Size / 16; ++c) {
      GRAFT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int row = row_of(l, 2 * j), col = 16 * c + column_of(l, 2 * j);
        f[c][l].of[j] = row < left ? load_pair(rows + row * x.stride + col) : 0;
      }
    }
  });
}
// 16 rows of a head of y = by(lane, which of its two rows) · sums, as far as there are `left`.
template <class T, int Size, class By>
GRAFT_DEVICE void store_strip(warp w, const device_view& y, int from, int h, int left,
                              const per_lane<sum_share> (&sums)[Size / 16], const By& by) {
  T* const rows = head_of<T, Size>(y, from, h);
  w.lanes([&](int l) {
    GRAFT_UNROLL
    for (int c = 0; c < Size / 16; ++c) {
      GRAFT_UNROLL
      for (int j = 0; j < 4; ++j) {
        const int row = row_of(l, 2 * j), col = 16 * c + column_of(l, 2 * j);
        const float factor = by(l, j % 2), *const two = sums[c][l].of + 2 * j;
        if (row < left)
          store_pair(rows + row * y.stride + col, pair_of<T>(factor * two[0], factor * two[1]));
      }
    }
  });
}

// sums[j] += the left factors times the rows 16 j … of a tile, transposed.
template <class T, int Size, int Blocks>
GRAFT_DEVICE void add_scores(warp w, per_lane<sum_share> (&sums)[Blocks],
                             const per_lane<factor_share> (&left)[Size / 16], const T* tile) {
  GRAFT_UNROLL
  for (int c = 0; c < Size / 16; ++c) {
    GRAFT_UNROLL
    for (int j = 0; j < Blocks; ++j) {
      const T* const x = tile + 16 * j * tile_stride<Size> + 16 * c;
      add_product<T>(w, sums[j], left[c], right_factor_transposed(w, x, tile_stride<Size>));
    }
  }
}
// sums += Σ left[j] times the rows 16 j … of a tile.
template <class T, int Size, int Blocks>
GRAFT_DEVICE void add_weighted(warp w, per_lane<sum_share> (&sums)[Size / 16],
                               const per_lane<factor_share> (&left)[Blocks], const T* tile) {
  GRAFT_UNROLL
  for (int j = 0; j < Blocks; ++j) {
    GRAFT_UNROLL
    for (int c = 0; c < Size / 16; ++c) {
      const T* const x = tile + 16 * j * tile_stride<Size> + 16 * c;
      add_product<T>(w, sums[c], left[j], right_factor(w, x, tile_stride<Size>));
    }
  }
}

// f(j, i, r) for each number i of a lane in block j, in its row r of two.
template <int Blocks, class F>
GRAFT_DEVICE void each_number(const F& f) {
  GRAFT_UNROLL
  for (int j = 0; j < Blocks; ++j) {
    GRAFT_UNROLL
    for (int i = 0; i < 8; ++i)
      f(j, i, i / 2 % 2);
  }
}
// left = sums, rounded.
template <class T, int Blocks>
GRAFT_DEVICE void round_sums(warp w, per_lane<factor_share> (&left)[Blocks],
                             const per_lane<sum_share> (&sums)[Blocks]) {
  w.lanes([&](int l) {
    GRAFT_UNROLL
    for (int j = 0; j < Blocks; ++j)
      left[j][l] = rounded<T>(sums[j][l]);
  });
}

// Over the four lanes that share a row, known to all of them.
GRAFT_DEVICE inline per_lane<float> sum_of_row(warp w, per_lane<float> v) {
  for (int step = 1; step < 4; step *= 2) {
    const auto other = w.across(v, step);
    w.lanes([&](int l) { v[l] += other[l]; });
  }
  return v;
}
GRAFT_DEVICE inline per_lane<float> max_of_row(warp w, per_lane<float> v) {
  for (int step = 1; step < 4; step *= 2) {
    const auto other = w.across(v, step);
    w.lanes([&](int l) { v[l] = fmaxf(v[l], other[l]); });
  }
  return v;
}

}  // namespace detail

}  // namespace graft::kernels
