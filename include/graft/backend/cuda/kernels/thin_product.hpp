// SPDX-License-Identifier: MIT
// Products with a thin matrix, of at most 32 rows or columns, as low-rank updates have them: what is wide is
// read once, as it lies, and parameters of floats are rounded to T on the way to the tensor cores. Of the
// places of tensor_core.hpp (lane l = 4 g + t) rows, columns and summands may be renumbered as long as both
// factors agree: here so that a lane reads 16 bytes of a row of what is wide.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/tensor_core.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

namespace graft::kernels {

inline constexpr index_t thin = 32;  // at most

// Two words of four numbers. (Devices before 8.0 lack the instructions, and are given none of these kernels.)
template <class T>
GRAFT_DEVICE void round_four(std::uint32_t& low, std::uint32_t& high, const bunch<4>& v) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  low = pair_of<T>(v[0], v[1]);
  high = pair_of<T>(v[2], v[3]);
#endif
}
template <class T>
GRAFT_DEVICE void add_thin(warp lanes, per_lane<sum_share>& sum, const per_lane<factor_share>& a,
                           const per_lane<factor_share>& b) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  add_product<T>(lanes, sum, a, b);
#endif
}

// Four numbers from (i, j) on, down or along; zeros beyond the matrix. Lined: of floats, that many can be
// read at once, and all of them or none are inside.
template <bool Lined>
GRAFT_DEVICE bunch<4> four_of(const const_device_view& w, bool down, index_t i, index_t j) {
  bunch<4> v;
  if (i >= w.rows || j >= w.cols)
    return v;
  if (!down)
    return Lined ? const_device_view::decode_as<float>(w.fetch_as<float, 4>(i, j)) : w.load<4>(i, j);
  GRAFT_UNROLL
  for (int m = 0; m < 4; ++m)
    if (Lined)
      v[m] = static_cast<const float*>(w.data)[(i + m) * w.stride + j];
    else if (i + m < w.rows)
      v[m] = w(i + m, j);
  return v;
}

// N numbers of T, of 16 bits, of row i.
template <class T, bool Lined, int N>
GRAFT_DEVICE raw_bunch<N> some_of(const const_device_view& x, index_t i, index_t j) {
  if (i >= x.rows || j >= x.cols)
    return {};
  return Lined ? x.fetch_as<T, N>(i, j) : x.fetch<N>(i, j);
}

// y [n, r] (+)= s x [n, c] op(w): a thin y; x of T, w [r, c], turned, or [c, r]. kernel(warp, i) makes 16
// rows of 16 columns.
template <class T>
struct thin_product {
  device_view y;
  const_device_view x, w;
  bool turn_w;
  float s;
  bool add;

  static constexpr index_t rows = 16;
  GRAFT_DEVICE index_t tiles() const { return (y.cols + 15) / 16; }
  GRAFT_DEVICE index_t units() const { return (y.rows + rows - 1) / rows * tiles(); }

  // So many times 32 summands are fetched before the first is used; lane l has 8 t … 8 t + 7 of each 32.
  template <int Deep>
  struct fetched {
    raw_bunch<8> upper[Deep], lower[Deep];
  };

  GRAFT_DEVICE void operator()(warp lanes, index_t unit) const {
    if (x.in_bunches<8>() && (!turn_w || w.in_bunches<4>()))
      run<true, 4>(lanes, unit);
    else
      run<false, 1>(lanes, unit);
  }

 private:
  template <bool Lined, int Deep>
  GRAFT_DEVICE void run(warp lanes, index_t unit) const {
    const index_t first = unit / tiles() * rows, rank = unit % tiles() * 16;
    per_lane<sum_share> sum;
    for (index_t k = 0; k < x.cols; k += 32 * Deep) {
      per_lane<fetched<Deep>> ahead;
      lanes.lanes([&](int l) {
        GRAFT_UNROLL
        for (int d = 0; d < Deep; ++d) {
          ahead[l].upper[d] = some_of<T, Lined, 8>(x, first + l / 4, k + 32 * d + l % 4 * 8);
          ahead[l].lower[d] = some_of<T, Lined, 8>(x, first + l / 4 + 8, k + 32 * d + l % 4 * 8);
        }
      });
      GRAFT_UNROLL
      for (int d = 0; d < Deep; ++d)
        if (k + 32 * d < x.cols) {
          GRAFT_UNROLL
          for (int p = 0; p < 2; ++p)
            add_sixteen<Lined>(lanes, sum, ahead, d, p, k + 32 * d + 4 * p, rank);
        }
    }
    lanes.lanes([&](int l) {
      GRAFT_UNROLL
      for (int n = 0; n < 8; ++n) {
        const index_t i = first + row_of(l, n), j = rank + column_of(l, n);
        if (i < y.rows && j < y.cols)
          y.set(i, j, s * sum[l].of[n] + (add ? y(i, j) : 0.0f));
      }
    });
  }

  // Summand 2 t + e + 8 h of the product is 8 t + 2 h + e from k on.
  template <bool Lined, int Deep>
  GRAFT_DEVICE void add_sixteen(warp lanes, per_lane<sum_share>& sum,
                                const per_lane<fetched<Deep>>& ahead, int d, int p, index_t k,
                                index_t rank) const {
    per_lane<factor_share> a, b;
    lanes.lanes([&](int l) {
      const std::uint32_t* const upper = ahead[l].upper[d].words + 2 * p;
      const std::uint32_t* const lower = ahead[l].lower[d].words + 2 * p;
      a[l] = {{upper[0], lower[0], upper[1], lower[1]}};
      const index_t from = k + l % 4 * 8;
      GRAFT_UNROLL
      for (int h = 0; h < 2; ++h) {
        const index_t to = rank + l / 4 + 8 * h;
        round_four<T>(b[l].of[2 * h], b[l].of[2 * h + 1],
                      turn_w ? four_of<Lined>(w, false, to, from) : four_of<Lined>(w, true, from, to));
      }
    });
    add_thin<T>(lanes, sum, a, b);
  }
};

// y [n, c] (+)= s x [n, r] op(w): few summands; y and x of T, w [c, r], turned, or [r, c]. kernel(warp, i)
// makes 32 rows of 32 columns, each part of w rounded once for them.
template <class T>
struct thin_inner_product {
  device_view y;
  const_device_view x, w;
  bool turn_w;
  float s;
  bool add;

  static constexpr index_t rows = 32, width = 32;
  static constexpr int tiles = 2;  // of 16 rows
  GRAFT_DEVICE index_t strips() const { return (y.cols + width - 1) / width; }
  GRAFT_DEVICE index_t units() const { return (y.rows + rows - 1) / rows * strips(); }

  struct fetched {
    raw_bunch<8> upper[tiles], lower[tiles];
  };

  GRAFT_DEVICE void operator()(warp lanes, index_t unit) const {
    if (y.in_bunches<8>() && x.in_bunches<4>() && (!turn_w || w.in_bunches<4>()))
      run<true>(lanes, unit);
    else
      run<false>(lanes, unit);
  }

 private:
  template <bool Lined>
  GRAFT_DEVICE void run(warp lanes, index_t unit) const {
    const index_t first = unit / strips() * rows, left = unit % strips() * width;
    per_lane<fetched> before;
    if (add)
      lanes.lanes([&](int l) {
        GRAFT_UNROLL
        for (int n = 0; n < tiles; ++n) {
          const index_t i = first + 16 * n + l / 4;
          before[l].upper[n] = some_of<T, Lined, 8>(y, i, left + l % 4 * 8);
          before[l].lower[n] = some_of<T, Lined, 8>(y, i + 8, left + l % 4 * 8);
        }
      });
    // Of tile n, columns 4 q + 2 h + e of a lane's eight: number 4 h + e (its upper row) and 4 h + e + 2.
    per_lane<sum_share> sum[tiles][2];
    for (index_t k = 0; k < x.cols; k += 16) {
      per_lane<factor_share> a[tiles], b[2];
      lanes.lanes([&](int l) {
        const index_t from = k + l % 4 * 4;
        GRAFT_UNROLL
        for (int n = 0; n < tiles; ++n) {
          const index_t i = first + 16 * n + l / 4;
          const raw_bunch<4> upper = some_of<T, Lined, 4>(x, i, from);
          const raw_bunch<4> lower = some_of<T, Lined, 4>(x, i + 8, from);
          a[n][l] = {{upper.words[0], lower.words[0], upper.words[1], lower.words[1]}};
        }
        GRAFT_UNROLL
        for (int q = 0; q < 2; ++q)
          GRAFT_UNROLL
          for (int h = 0; h < 2; ++h) {
            const index_t to = left + l / 8 * 8 + 4 * q + 2 * h + l / 4 % 2;
            round_four<T>(b[q][l].of[2 * h], b[q][l].of[2 * h + 1],
                          turn_w ? four_of<Lined>(w, false, to, from) : four_of<Lined>(w, true, from, to));
          }
      });
      GRAFT_UNROLL
      for (int n = 0; n < tiles; ++n)
        GRAFT_UNROLL
        for (int q = 0; q < 2; ++q)
          add_thin<T>(lanes, sum[n][q], a[n], b[q]);
    }
    lanes.lanes([&](int l) {
      GRAFT_UNROLL
      for (int n = 0; n < tiles; ++n)
        GRAFT_UNROLL
        for (int lower = 0; lower < 2; ++lower) {
          const index_t i = first + 16 * n + l / 4 + 8 * lower;
          if (i >= y.rows)
            continue;
          bunch<8> v;
          if (add)
            v = device_view::decode_as<T>(lower ? before[l].lower[n] : before[l].upper[n]);
          GRAFT_UNROLL
          for (int c = 0; c < 8; ++c)
            v[c] += s * sum[n][c / 4][l].of[c / 2 % 2 * 4 + c % 2 + 2 * lower];
          const index_t j = left + l % 4 * 8;
          if (!Lined)
            y.store(i, j, v);
          else if (j < y.cols)
            y.template store_as<T>(i, j, v);
        }
    });
  }
};

// The first stage of wideᵀ [c, n] · narrow [n, r], both of T: for each block of rows the sums over them,
// sums [blocks, ranks · width], rank after rank, width a multiple of 64. kernel(warp, i) makes 16 ranks of 64
// columns of a block.
template <class T>
struct thin_sums {
  device_view sums;
  const_device_view wide, narrow;
  index_t rows, width;  // of a block; a multiple of 16

  GRAFT_DEVICE index_t strips() const { return width / 64; }
  GRAFT_DEVICE index_t tiles() const { return (narrow.cols + 15) / 16; }
  GRAFT_DEVICE index_t units() const { return sums.rows * strips() * tiles(); }

  // Lane l has columns 8 g … 8 g + 7 of the rows 4 t … 4 t + 3 of each 16.
  struct fetched {
    raw_bunch<8> row[4];
  };

  GRAFT_DEVICE void operator()(warp lanes, index_t unit) const {
    if (wide.in_bunches<8>())
      run<true>(lanes, unit);
    else
      run<false>(lanes, unit);
  }

 private:
  template <bool Lined>
  GRAFT_DEVICE void run(warp lanes, index_t unit) const {
    const index_t rank = unit % tiles() * 16, left = unit / tiles() % strips() * 64;
    const index_t block = unit / (tiles() * strips());
    const index_t end = (block + 1) * rows < wide.rows ? (block + 1) * rows : wide.rows;
    per_lane<sum_share> sum[4];
    for (index_t i = block * rows; i < end; i += 16) {
      per_lane<fetched> ahead;
      per_lane<factor_share> b;
      lanes.lanes([&](int l) {
        const index_t from = i + l % 4 * 4;
        GRAFT_UNROLL
        for (int m = 0; m < 4; ++m)
          ahead[l].row[m] = some_of<T, Lined, 8>(wide, from + m, left + l / 4 * 8);
        GRAFT_UNROLL
        for (int h = 0; h < 2; ++h) {
          const index_t r = rank + l / 4 + 8 * h;
          std::uint32_t bits[4] = {};
          GRAFT_UNROLL
          for (int m = 0; m < 4; ++m)
            if (from + m < narrow.rows && r < narrow.cols)
              bits[m] = static_cast<const T*>(narrow.data)[(from + m) * narrow.stride + r].bits;
          b[l].of[2 * h] = bits[0] | bits[1] << 16;
          b[l].of[2 * h + 1] = bits[2] | bits[3] << 16;
        }
      });
      // Product q is of columns 8 g + 2 q, its row g, and the next, its row g + 8.
      GRAFT_UNROLL
      for (int q = 0; q < 4; ++q) {
        per_lane<factor_share> a;
        lanes.lanes([&](int l) {
          GRAFT_UNROLL
          for (int h = 0; h < 2; ++h) {
            const std::uint32_t one = ahead[l].row[2 * h].words[q], two = ahead[l].row[2 * h + 1].words[q];
            a[l].of[2 * h] = (one & 0xffffu) | two << 16;
            a[l].of[2 * h + 1] = one >> 16 | (two & 0xffff0000u);
          }
        });
        add_thin<T>(lanes, sum[q], a, b);
      }
    }
    lanes.lanes([&](int l) {
      GRAFT_UNROLL
      for (int q = 0; q < 4; ++q)
        GRAFT_UNROLL
        for (int n = 0; n < 8; ++n) {
          const index_t column = left + l / 4 * 8 + 2 * q + n / 2 % 2, r = rank + column_of(l, n);
          if (r < narrow.cols)
            sums.set(block, r * width + column, sum[q][l].of[n]);
        }
    });
  }
};

// The second: y (+)= s Σ_b sums[b], y [c, r], or [r, c] if turned. kernel(warp, i) makes 32 numbers of a row
// of sums; four groups of lanes add a quarter of the blocks each.
struct fold_thin_sums {
  device_view y;
  const_device_view sums;
  index_t width;
  bool turned;
  float s;
  bool add;

  GRAFT_DEVICE void operator()(warp lanes, index_t unit) const {
    const index_t quarter = (sums.rows + 3) / 4;
    per_lane<float> part[4];
    lanes.lanes([&](int l) {
      const index_t first = l / 8 * quarter, end = first + quarter < sums.rows ? first + quarter : sums.rows;
      const index_t at = unit * 32 + l % 8 * 4;
      bunch<4> sum;
      for (index_t b = first; b < end; ++b) {
        const bunch<4> more = const_device_view::decode_as<float>(sums.fetch_as<float, 4>(b, at));
        for (int k = 0; k < 4; ++k)
          sum[k] += more[k];
      }
      for (int k = 0; k < 4; ++k)
        part[k][l] = sum[k];
    });
    for (int k = 0; k < 4; ++k) {
      for (int step = 8; step < warp::size; step *= 2) {
        const per_lane<float> other = lanes.across(part[k], step);
        lanes.lanes([&](int l) { part[k][l] += other[l]; });
      }
    }
    lanes.lanes([&](int l) {
      if (l >= 8)
        return;
      for (int k = 0; k < 4; ++k) {
        const index_t at = unit * 32 + l * 4 + k, r = at / width, c = at % width;
        const index_t i = turned ? r : c, j = turned ? c : r;
        if (i < y.rows && j < y.cols)
          y.set(i, j, s * part[k][l] + (add ? y(i, j) : 0.0f));
      }
    });
  }
};

}  // namespace graft::kernels
