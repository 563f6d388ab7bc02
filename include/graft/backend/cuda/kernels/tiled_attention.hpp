// SPDX-License-Identifier: MIT
// Attention over packed sequences on tensor cores, for numbers of 16 bits and heads of 32, 64 or 128 of
// them (Dao 2023, arXiv:2307.08691): memory linear in the sequence length, every sum in a fixed order. A
// warp keeps 16 rows of one head in registers, and what they meet passes by in tiles in shared memory.
#pragma once

#include <graft/backend/cuda/warp_block.hpp>
#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/tensor_core.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/layout.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
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

// Numbers from row to row of a tile: 16 bytes more than a row has, so that the 8 rows that are loaded at
// once lie in different banks.
template <int Size>
inline constexpr int tile_stride = Size + 8;

// The columns of head h of x, from a row on.
template <class T, int Size, bool Writable>
GRAFT_DEVICE auto head_of(const device_matrix<Writable>& x, index_t row, index_t h) {
  using number = std::conditional_t<Writable, T, const T>;
  return static_cast<number*>(x.data) + row * x.stride + h * Size;
}

// A warp's part of bringing `Rows` rows of a head into a tile, as far as there are `left`; zeros below.
template <class T, int Size, int Rows, int Warps>
GRAFT_DEVICE void bring_rows(warp w, int number, T* tile, const const_device_view& x, int from, int h,
                             int left) {
  constexpr int pieces = Size / 8, together = Warps * warp::size / pieces;  // in a row; rows at once
  static_assert(Rows % together == 0);
  const T* const rows = head_of<T, Size>(x, from, h);
  w.lanes([&](int l) {
    const int first = (number * warp::size + l) / pieces, at = l % pieces * 8;
    GRAFT_UNROLL
    for (int row = first; row < first + Rows; row += together) {
      const bool there = row < left;
      copy_async<16>(tile + row * tile_stride<Size> + at, rows + (there ? row : 0) * x.stride + at,
                     there);
    }
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

// f(i, r) for each number i of a lane, in its row r of two.
template <class F>
GRAFT_DEVICE void each_number(const F& f) {
  GRAFT_UNROLL
  for (int i = 0; i < 8; ++i)
    f(i, i / 2 % 2);
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

  // Bit i says whether a lane's number i is kept, its rows being queries and its columns keys …
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
  // … or its rows being keys and its columns queries.
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

 private:
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

}  // namespace detail

// kernel(block, n): head n % heads of the query rows of tile n / heads.
template <class T, int Size>
struct tiled_attention {
  static constexpr int warps = Size == 32 ? 4 : 8, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 6 : Size == 64 ? 2 : 1;  // at once on a multiprocessor
  static constexpr int tile_rows = Size < 128 ? 64 : 32;  // keys in shared memory …
  static constexpr int step = 32;                         // … and at once
  static constexpr int numbers = tile_rows * detail::tile_stride<Size>;
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
    const int heads = static_cast<int>(a.heads), h = static_cast<int>(n) % heads;
    const row_tile tile = tiles[static_cast<int>(n) / heads];
    if (tile.rows == 0)
      return;
    const int first = tile.first, left = tile.rows, count = tile.others;
    const detail::probability_mask mask(a, h, first, left);
    per_warp<strip, warps> strips;

    const auto tile_at = [&](int begin) {
      return reinterpret_cast<T*>(b.shared) + begin / tile_rows % 2 * 2 * numbers;
    };
    const auto bring = [&](warp w, int number, int begin) {
      T* const to = tile_at(begin);
      const int row = tile.first_other + begin, there = count - begin;
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to, k, row, h, there);
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to + numbers, v, row, h, there);
    };
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      if (count > 0)
        bring(w, number, 0);
      detail::load_strip<T, Size>(w, s.q, q, first + 16 * number, h, left - 16 * number);
      w.lanes([&](int l) { s.most[0][l] = s.most[1][l] = -HUGE_VALF; });
      wait_for_copies();
    });
    for (int begin = 0; begin < count; begin += tile_rows)
      b.warps([&](warp w, int number) {
        if (begin + tile_rows < count)
          bring(w, number, begin + tile_rows);
        if (16 * number < left)
          for (int at = 0; at < tile_rows && begin + at < count; at += step)
            add_keys(w, strips[number], tile_at(begin) + at * detail::tile_stride<Size>, begin + at,
                     count, mask, 16 * number);
        wait_for_copies();
      });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      per_lane<float> total[2];
      for (int r = 0; r < 2; ++r)
        total[r] = detail::sum_of_row(w, s.total[r]);
      detail::store_strip<T, Size>(
          w, y, first + 16 * number, h, left - 16 * number, s.y,
          [&](int l, int r) { return count > 0 ? mask.factor() / total[r][l] : 0.0f; });
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int r = 0; r < 2; ++r)
          if (const int row = 16 * number + l / 4 + 8 * r; l % 4 == 0 && row < left)
            logs.set(first + row, h,
                     count > 0 ? s.most[r][l] * a.scale + logf(total[r][l]) : -HUGE_VALF);
      });
    });
  }

 private:
  // The keys begin … begin + step − 1.
  GRAFT_DEVICE void add_keys(warp w, strip& s, const T* tile, int begin, int count,
                             const detail::probability_mask& mask, int query) const {
    constexpr int blocks_of_step = step / 16;
    const float unit = a.scale * log2_of_e;
    per_lane<std::uint32_t> kept[blocks_of_step];
    if (mask.acts()) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        kept[j] = mask.of_queries(w, query, begin + 16 * j);
    }
    per_lane<sum_share> p[blocks_of_step];  // scores at first
    detail::add_scores<T, Size>(w, p, s.q, tile);
    if (begin + step > count)
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int j = 0; j < blocks_of_step; ++j)
          detail::each_number([&](int i, int) {
            if (begin + 16 * j + column_of(l, i) >= count)
              p[j][l].of[i] = -HUGE_VALF;
          });
      });

    per_lane<float> next[2];
    w.lanes([&](int l) {
      next[0][l] = s.most[0][l];
      next[1][l] = s.most[1][l];
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        detail::each_number([&](int i, int r) { next[r][l] = fmaxf(next[r][l], p[j][l].of[i]); });
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
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        detail::each_number([&](int i, int r) {
          p[j][l].of[i] = quick_exp2(p[j][l].of[i] * unit - base[r]);
          s.total[r][l] += p[j][l].of[i];
        });
      GRAFT_UNROLL
      for (int c = 0; c < Size / 16; ++c)
        detail::each_number([&](int i, int r) { s.y[c][l].of[i] *= shrink[r]; });
    });
    if (mask.acts())
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int j = 0; j < blocks_of_step; ++j)
          detail::each_number([&](int i, int) {
            if (!(kept[j][l] >> i & 1))
              p[j][l].of[i] = 0;
          });
      });

    per_lane<factor_share> weights[blocks_of_step];
    w.lanes([&](int l) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        weights[j][l] = rounded<T>(p[j][l]);
    });
    detail::add_weighted<T, Size>(w, s.y, weights, tile + numbers);
  }
};

// With p = exp(score − log) and dp = dy · v: dq = scale Σ p (mask dp − dot) k, where dot = Σ p mask dp is
// left in `statistics` [heads, queries]. The dot is known after the last key; until then the mean over the
// keys so far stands for it, and what it was wrong by is made good with seen = Σ p k:
//   Σ p (mask dp − dot) k = Σ p (mask dp − mean) k − (dot − mean) seen.
// kernel(block, n) as above.
template <class T, int Size>
struct tiled_attention_queries {
  static constexpr int warps = 4, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 4 : Size == 64 ? 3 : 2;
  static constexpr int tile_rows = Size < 128 ? 64 : 32;  // keys in shared memory …
  static constexpr int step = Size == 32 ? 32 : 16;       // … and at once
  static constexpr int numbers = tile_rows * detail::tile_stride<Size>;
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
    const int heads = static_cast<int>(a.heads), h = static_cast<int>(n) % heads;
    const row_tile tile = tiles[static_cast<int>(n) / heads];
    if (tile.rows == 0)
      return;
    const int first = tile.first, left = tile.rows, count = tile.others;
    const detail::probability_mask mask(a, h, first, left);
    per_warp<strip, warps> strips;

    const auto tile_at = [&](int begin) {
      return reinterpret_cast<T*>(b.shared) + begin / tile_rows % 2 * 2 * numbers;
    };
    const auto bring = [&](warp w, int number, int begin) {
      T* const to = tile_at(begin);
      const int row = tile.first_other + begin, there = count - begin;
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to, k, row, h, there);
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to + numbers, v, row, h, there);
    };
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      const int row = first + 16 * number;
      const int here = left - 16 * number;
      if (count > 0)
        bring(w, number, 0);
      detail::load_strip<T, Size>(w, s.q, q, row, h, here);
      detail::load_strip<T, Size>(w, s.dy, dy, row, h, here);
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int r = 0; r < 2; ++r)
          if (const int i = l / 4 + 8 * r; i < here)
            s.log[r][l] = logs(row + i, h) * log2_of_e;
      });
      wait_for_copies();
    });
    for (int begin = 0; begin < count; begin += tile_rows)
      b.warps([&](warp w, int number) {
        if (begin + tile_rows < count)
          bring(w, number, begin + tile_rows);
        if (16 * number < left)
          for (int at = 0; at < tile_rows && begin + at < count; at += step)
            add_keys(w, strips[number], tile_at(begin) + at * detail::tile_stride<Size>, begin + at,
                     count, mask, 16 * number);
        wait_for_copies();
      });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      detail::store_strip<T, Size>(w, dq, first + 16 * number, h, left - 16 * number, s.dq,
                                   [&](int, int) { return a.scale; });
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int r = 0; r < 2; ++r)
          if (const int row = 16 * number + l / 4 + 8 * r; l % 4 == 0 && row < left)
            statistics[h * q.rows + first + row] = {s.log[r][l], s.mean[r][l]};
      });
    });
  }

 private:
  // The keys begin … begin + step − 1.
  GRAFT_DEVICE void add_keys(warp w, strip& s, const T* tile, int begin, int count,
                             const detail::probability_mask& mask, int query) const {
    constexpr int blocks_of_step = step / 16;
    const float unit = a.scale * log2_of_e;
    per_lane<std::uint32_t> kept[blocks_of_step];
    if (mask.acts()) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        kept[j] = mask.of_queries(w, query, begin + 16 * j);
    }
    per_lane<sum_share> p[blocks_of_step], dp[blocks_of_step];
    detail::add_scores<T, Size>(w, p, s.q, tile);
    detail::add_scores<T, Size>(w, dp, s.dy, tile + numbers);
    w.lanes([&](int l) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        detail::each_number([&](int i, int r) {
          const bool there = begin + 16 * j + column_of(l, i) < count;
          p[j][l].of[i] = there ? quick_exp2(p[j][l].of[i] * unit - s.log[r][l]) : 0.0f;
        });
    });
    if (mask.acts())
      w.lanes([&](int l) {
        GRAFT_UNROLL
        for (int j = 0; j < blocks_of_step; ++j)
          detail::each_number([&](int i, int) {
            dp[j][l].of[i] *= (kept[j][l] >> i & 1) != 0 ? mask.factor() : 0.0f;
          });
      });

    per_lane<float> total[2], dot[2];
    w.lanes([&](int l) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        detail::each_number([&](int i, int r) {
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
      GRAFT_UNROLL
      for (int c = 0; c < Size / 16; ++c)
        detail::each_number(
            [&](int i, int r) { s.dq[c][l].of[i] -= wrong[r] * s.seen[c][l].of[i]; });
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j) {
        weights[j][l] = rounded<T>(p[j][l]);
        detail::each_number(
            [&](int i, int r) { p[j][l].of[i] *= dp[j][l].of[i] - s.mean[r][l]; });
        ds[j][l] = rounded<T>(p[j][l]);
      }
    });
    detail::add_weighted<T, Size>(w, s.dq, ds, tile);
    if (begin + step < count)
      detail::add_weighted<T, Size>(w, s.seen, weights, tile);
  }
};

// dk = scale Σ p (mask dp − dot) q, dv = Σ p mask dy over the queries of the keys' sequence.
// kernel(block, n): head n % heads of the key rows of tile n / heads.
template <class T, int Size>
struct tiled_attention_keys {
  static constexpr int warps = 4, rows = 16 * warps;
  static constexpr int blocks = Size == 32 ? 4 : Size == 64 ? 3 : 2;
  static constexpr int tile_rows = Size < 128 ? 64 : 32;  // queries in shared memory …
  static constexpr int step = 16;                          // … and at once
  static constexpr int numbers = tile_rows * detail::tile_stride<Size>;
  static constexpr int tile_bytes = 2 * numbers * sizeof(T) + tile_rows * sizeof(query_statistics);
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
    const int heads = static_cast<int>(a.heads), h = static_cast<int>(n) % heads;
    const row_tile tile = tiles[static_cast<int>(n) / heads];
    if (tile.rows == 0)
      return;
    const int first = tile.first, left = tile.rows, count = tile.others;
    const query_statistics* const known = statistics + h * q.rows + tile.first_other;
    const detail::probability_mask mask(a, h, tile.first_other, count);
    per_warp<strip, warps> strips;

    const auto tile_at = [&](int begin) { return b.shared + begin / tile_rows % 2 * tile_bytes; };
    const auto bring = [&](warp w, int number, int begin) {
      T* const to = reinterpret_cast<T*>(tile_at(begin));
      auto* const beside = reinterpret_cast<query_statistics*>(to + 2 * numbers);
      const int row = tile.first_other + begin, there = count - begin;
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to, q, row, h, there);
      detail::bring_rows<T, Size, tile_rows, warps>(w, number, to + numbers, dy, row, h, there);
      w.lanes([&](int l) {
        if (const int i = number * warp::size + l; i < tile_rows)
          copy_async<8>(beside + i, known + begin + (i < there ? i : 0), i < there);
      });
    };
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      const int row = first + 16 * number;
      const int here = left - 16 * number;
      if (count > 0)
        bring(w, number, 0);
      detail::load_strip<T, Size>(w, s.k, k, row, h, here);
      detail::load_strip<T, Size>(w, s.v, v, row, h, here);
      wait_for_copies();
    });
    for (int begin = 0; begin < count; begin += tile_rows)
      b.warps([&](warp w, int number) {
        if (begin + tile_rows < count)
          bring(w, number, begin + tile_rows);
        if (16 * number < left)
          for (int at = 0; at < tile_rows && begin + at < count; at += step)
            add_queries(w, strips[number], tile_at(begin), at, begin + at, mask,
                        tile.place + 16 * number);
        wait_for_copies();
      });
    b.warps([&](warp w, int number) {
      strip& s = strips[number];
      const int row = first + 16 * number;
      const int here = left - 16 * number;
      detail::store_strip<T, Size>(w, dk, row, h, here, s.dk, [&](int, int) { return a.scale; });
      detail::store_strip<T, Size>(w, dv, row, h, here, s.dv,
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
    if (drops) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        kept[j] = mask.of_keys(w, query + 16 * j, key);
    }
    per_lane<sum_share> p[blocks_of_step], ds[blocks_of_step];  // ds is dp at first
    detail::add_scores<T, Size>(w, p, s.k, rows_of_q);
    detail::add_scores<T, Size>(w, ds, s.v, rows_of_dy);
    w.lanes([&](int l) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j)
        detail::each_number([&](int i, int) {
          const query_statistics of = known[16 * j + column_of(l, i)];
          const float weight = quick_exp2(p[j][l].of[i] * unit - of.log);
          const bool stays = !drops || (kept[j][l] >> i & 1) != 0;
          ds[j][l].of[i] = weight * ((stays ? ds[j][l].of[i] * mask.factor() : 0.0f) - of.dot);
          p[j][l].of[i] = stays ? weight : 0.0f;
        });
    });
    per_lane<factor_share> to_key[blocks_of_step], to_value[blocks_of_step];
    w.lanes([&](int l) {
      GRAFT_UNROLL
      for (int j = 0; j < blocks_of_step; ++j) {
        to_value[j][l] = rounded<T>(p[j][l]);
        to_key[j][l] = rounded<T>(ds[j][l]);
      }
    });
    detail::add_weighted<T, Size>(w, s.dv, to_value, rows_of_dy);
    detail::add_weighted<T, Size>(w, s.dk, to_key, rows_of_q);
  }
};

}  // namespace graft::kernels
