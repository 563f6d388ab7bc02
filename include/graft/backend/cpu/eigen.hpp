// SPDX-License-Identifier: MIT
// What the CPU operations share: views as Eigen maps, loops over lanes, which are formulas' operands, and
// loops over fixed blocks of them. No result depends on where a matrix lies in memory.
#pragma once

#include <graft/backend/cpu/lane.hpp>
#include <graft/backend/thread_pool.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <type_traits>

#include <Eigen/Core>

namespace graft::detail {

// The map of a view: constant where the view is.
template <class T>
auto map(matrix_view<T> v) {
  using matrix =
      Eigen::Matrix<std::remove_const_t<T>, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using target = std::conditional_t<std::is_const_v<T>, const matrix, matrix>;
  return Eigen::Map<target, Eigen::Unaligned, Eigen::OuterStride<>>(v.data, v.rows, v.cols,
                                                                    Eigen::OuterStride<>(v.stride));
}

template <class T>
void set_zero(matrix_view<T> v) {
  for (index_t i = 0; i < v.rows; ++i)
    std::fill_n(v.row(i), v.cols, T(0));
}

template <class T>
lane<T> load(const T* data) {
  return lane<T>::load(data);
}
// The first n, and zeros.
template <class T>
lane<T> load(const T* data, index_t n) {
  T room[lanes] = {};
  std::copy_n(data, n, room);
  return lane<T>::load(room);
}
template <class T>
void store(T* data, const lane<std::remove_const_t<T>>& v, index_t n = lanes) {
  if constexpr (!std::is_const_v<T>) {
    if (n == lanes)
      return v.store(data);
    T room[lanes];
    v.store(room);
    std::copy_n(room, n, data);
  }
}

// f(lane&…) over n neighbours of every array; what f changes is stored where the array may be
// written.
template <class F, class... T>
void each_lane(index_t n, const F& f, T*... data) {
  index_t j = 0;
  for (; j + lanes <= n; j += lanes)
    [&](auto... v) {
      f(v...);
      (store(data + j, v), ...);
    }(load(data + j)...);
  if (j < n)
    [&](auto... v) {
      f(v...);
      (store(data + j, v, n - j), ...);
    }(load(data + j, n - j)...);
}

// The first n of a lane, and zeros.
template <class T>
lane<T> first_of(const lane<T>& v, index_t n) {
  T room[lanes];
  v.store(room);
  return load(static_cast<const T*>(room), n);
}

// The sum over n neighbours of the lanes that f makes of those of every array.
template <class F, class... T>
auto sum_lanes(index_t n, const F& f, const T*... data) {
  decltype(f(lane<T>()...)) sum(0);
  index_t j = 0;
  for (; j + lanes <= n; j += lanes)
    sum += f(load(data + j)...);
  if (j < n)
    sum += first_of(f(load(data + j, n - j)...), n - j);
  return sum.sum();
}

// The largest of n > 0 neighbours.
template <class T>
T max_of(const T* data, index_t n) {
  if (n < lanes)
    return *std::max_element(data, data + n);
  lane<T> most = load(data + n - lanes);
  for (index_t j = 0; j + lanes < n; j += lanes)
    most = most.max(load(data + j));
  return most.largest();
}

// f(lane&…) over matrices of one size.
template <class F, class... T>
void for_each_lane(index_t rows, index_t cols, const F& f, matrix_view<T>... v) {
  constexpr index_t piece = 64 * lanes;
  if ((v.contiguous() && ...)) {
    cols *= rows;
    rows = cols > 0;
  }
  const index_t pieces = (cols + piece - 1) / piece;
  for_each_block(rows * pieces, rows * cols, [&](index_t b) {
    const index_t i = b / pieces, j = b % pieces * piece;
    each_lane(std::min(piece, cols - j), f, v.row(i) + j...);
  });
}

// y[j] += Σ over rows i of f(i, lane…). Threads share the columns; 64 rows at a time are summed
// before they are added, in order.
template <class T, class F, class... X>
void sum_columns(T* y, index_t rows, index_t cols, const F& f, matrix_view<const X>... x) {
  constexpr index_t block = 64, width = 4;
  const auto add = [&](index_t first, index_t until, index_t j, index_t count, const auto& get) {
    lane<T> sum[width];
    std::fill_n(sum, count, lane<T>(0));
    for (index_t i = first; i < until; ++i)
      for (index_t l = 0; l < count; ++l)
        sum[l] += f(i, get(x.row(i) + j + l * lanes)...);
    for (index_t l = 0; l < count; ++l) {
      T* out = y + j + l * lanes;
      store(out, get(out) + sum[l], std::min(lanes, cols - j - l * lanes));
    }
  };
  for_each_block((cols + width * lanes - 1) / (width * lanes), rows * cols, [&](index_t b) {
    const index_t j = b * width * lanes, whole = std::min(width, (cols - j) / lanes);
    const index_t rest = std::min(cols - j, width * lanes) - whole * lanes;
    for (index_t first = 0; first < rows; first += block) {
      const index_t until = std::min(first + block, rows);
      if (whole > 0)
        add(first, until, j, whole, [](const T* p) { return load(p); });
      if (rest > 0)
        add(first, until, j + whole * lanes, 1, [rest](const T* p) { return load(p, rest); });
    }
  });
}

// Σ term(i) over at most 64 blocks, whose extent depends on n alone; they are added in order.
template <class F>
double sum_blocks(index_t n, index_t work, const F& term) {
  constexpr index_t most = 64;
  double partial[most];
  const index_t block = std::max<index_t>((n + most - 1) / most, 1), blocks = (n + block - 1) / block;
  for_each_block(blocks, work, [&](index_t b) {
    partial[b] = 0;
    for (index_t i = b * block; i < std::min((b + 1) * block, n); ++i)
      partial[b] += term(i);
  });
  double sum = 0;
  for (index_t b = 0; b < blocks; ++b)
    sum += partial[b];
  return sum;
}

}  // namespace graft::detail
