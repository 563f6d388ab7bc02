// SPDX-License-Identifier: MIT
// A row that a warp goes over several times: read once and held in registers where it is not too wide.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cstdint>
#include <utility>

namespace graft::kernels {

// Groups of four columns that a lane holds at most, and the widest row that so many take.
inline constexpr int most_held = 8;
inline constexpr index_t widest_held = index_t{4} * warp::size * most_held;

// The columns of a row, four at a time: group c of lane l begins at column 4 (32 c + l). Source tells what
// there is of columns j … j + 3: fetch(j) reads it and made(fetched, j) is its value. Where Groups > 0, which
// must suffice, all of it is fetched, then made, once; else whenever it is asked for.
template <int Groups, class Source>
class held_row {
 public:
  using fetched = decltype(std::declval<const Source&>().fetch(index_t{}));
  using value = decltype(std::declval<const Source&>().made(std::declval<const fetched&>(), index_t{}));

  GRAFT_DEVICE held_row(warp w, index_t cols, const Source& source) : warp_(w), cols_(cols), source_(source) {
    if constexpr (Groups > 0) {
      per_lane<fetched> read[Groups];
      groups([&](int l, int c, index_t j) { read[c][l] = source_.fetch(j); });
      groups([&](int l, int c, index_t j) { own_[c][l] = source_.made(read[c][l], j); });
    }
  }

  // f(j, value of columns j … j + 3)
  template <class F>
  GRAFT_DEVICE void each(const F& f) const {
    groups([&](int l, int c, index_t j) {
      if constexpr (Groups > 0)
        f(j, own_[c][l]);
      else
        f(j, source_.made(source_.fetch(j), j));
    });
  }
  // Σ f(value, k) over the columns, each the k-th of its four.
  template <class F>
  GRAFT_DEVICE float sum(const F& f) const {
    per_lane<float> part;
    groups([&](int l, int c, index_t j) {
      const auto add = [&](const value& v) {
        for (int k = 0; k < 4; ++k)
          if (j + k < cols_)
            part[l] += f(v, k);
      };
      if constexpr (Groups > 0)
        add(own_[c][l]);
      else
        add(source_.made(source_.fetch(j), j));
    });
    return warp_.sum(part);
  }

 private:
  template <class F>
  GRAFT_DEVICE void groups(const F& f) const {
    warp_.lanes([&](int l) {
      if constexpr (Groups > 0) {
        GRAFT_UNROLL
        for (int c = 0; c < Groups; ++c)
          if (const index_t j = 4 * (index_t{warp::size} * c + l); j < cols_)
            f(l, c, j);
      } else {
        for (index_t j = 4 * l; j < cols_; j += 4 * warp::size)
          f(l, 0, j);
      }
    });
  }

  warp warp_;
  index_t cols_;
  const Source& source_;
  per_lane<value> own_[Groups > 0 ? Groups : 1];
};

// How four numbers of a row are read and written: at once, all of type T …
template <class T>
struct at_once {
  GRAFT_DEVICE static raw_bunch<4> fetch(const const_device_view& m, index_t i, index_t j) {
    return m.fetch_as<T, 4>(i, j);
  }
  GRAFT_DEVICE static bunch<4> decode(const const_device_view&, const raw_bunch<4>& v) {
    return const_device_view::decode_as<T>(v);
  }
  GRAFT_DEVICE static void store(const device_view& m, index_t i, index_t j, const bunch<4>& x) {
    m.store_as<T>(i, j, x);
  }
  // Of a single row of floats, which may lie anywhere.
  GRAFT_DEVICE static bunch<4> of_row(const const_device_view& row, index_t j) {
    if (reinterpret_cast<std::uintptr_t>(row.data) % 16 == 0)
      return const_device_view::decode_as<float>(row.fetch_as<float, 4>(0, j));
    bunch<4> x;
    for (int k = 0; k < 4; ++k)
      x[k] = static_cast<const float*>(row.data)[j + k];
    return x;
  }
  static constexpr bool holds = true;
};
// … or as each matrix has them.
struct as_they_lie {
  GRAFT_DEVICE static raw_bunch<4> fetch(const const_device_view& m, index_t i, index_t j) {
    return m.fetch<4>(i, j);
  }
  GRAFT_DEVICE static bunch<4> decode(const const_device_view& m, const raw_bunch<4>& v) {
    return m.decode(v);
  }
  GRAFT_DEVICE static void store(const device_view& m, index_t i, index_t j, const bunch<4>& x) {
    m.store(i, j, x);
  }
  GRAFT_DEVICE static bunch<4> of_row(const const_device_view& row, index_t j) { return row.load<4>(0, j); }
  static constexpr bool holds = false;
};

// use(how) with how the rows of all these matrices can be read and written; `floats`: are the single rows of
// floats?
template <class Use, class... M>
GRAFT_DEVICE void with_access(const Use& use, bool floats, const device_view& m, const M&... others) {
  const bool alike = (... && (others.type == m.type && others.template in_bunches<4>()));
  if (!floats || !alike || !m.in_bunches<4>())
    use(as_they_lie{});
  else if (m.type == number_type::f32)
    use(at_once<float>{});
  else if (m.type == number_type::bf16)
    use(at_once<bf16>{});
  else
    use(at_once<fp16>{});
}

// use(row) with a row of that source, held where it can be.
template <bool Hold, class Source, class Use>
GRAFT_DEVICE void with_row(warp w, index_t cols, const Source& source, const Use& use) {
  if constexpr (Hold)
    if (cols <= widest_held) {
      use(held_row<most_held, Source>(w, cols, source));
      return;
    }
  use(held_row<0, Source>(w, cols, source));
}

// Row i of a matrix.
template <class How>
struct row_source {
  const_device_view x;
  index_t i;
  GRAFT_DEVICE raw_bunch<4> fetch(index_t j) const { return How::fetch(x, i, j); }
  GRAFT_DEVICE bunch<4> made(const raw_bunch<4>& v, index_t) const { return How::decode(x, v); }
};

}  // namespace graft::kernels
