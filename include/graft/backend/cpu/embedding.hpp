// SPDX-License-Identifier: MIT
// Rows picked by number, and sequences made one row, on the CPU backend.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>

namespace graft {

template <class T>
void cpu<T>::gather(view y, const_view table, ids rows, bool add) {
  detail::for_each_block(y.rows, y.size(), [&](index_t i) {
    const T* from = table.row(rows[static_cast<std::size_t>(i)]);
    if (add)
      detail::each_lane(
          y.cols, [](auto& out, auto& in) { out += in; }, y.row(i), from);
    else
      std::copy_n(from, y.cols, y.row(i));
  });
}

// Threads share the columns, so that rows with one number are added in order.
template <class T>
void cpu<T>::scatter_add(view table, const_view y, ids rows) {
  constexpr index_t block = 64;
  detail::for_each_block((y.cols + block - 1) / block, y.size(), [&](index_t b) {
    const index_t j = b * block, n = std::min(block, y.cols - j);
    for (index_t i = 0; i < y.rows; ++i)
      detail::each_lane(
          n, [](auto& out, auto& in) { out += in; },
          table.row(rows[static_cast<std::size_t>(i)]) + j, y.row(i) + j);
  });
}

// An empty sequence pools to zero.
template <class T>
void cpu<T>::pool_first(view y, const_view x, const layout& rows) {
  for (index_t s = 0; s < y.rows; ++s)
    if (rows.length(s) > 0)
      std::copy_n(x.row(rows.first(s)), y.cols, y.row(s));
    else
      std::fill_n(y.row(s), y.cols, T(0));
}

template <class T>
void cpu<T>::pool_first_backward(view dx, const_view dy, const layout& rows) {
  fill(dx, T(0));
  for (index_t s = 0; s < dy.rows; ++s)
    if (rows.length(s) > 0)
      std::copy_n(dy.row(s), dy.cols, dx.row(rows.first(s)));
}

template <class T>
void cpu<T>::pool_mean(view y, const_view x, const layout& rows) {
  detail::for_each_block(y.rows, x.size(), [&](index_t s) {
    std::fill_n(y.row(s), y.cols, T(0));
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      detail::each_lane(
          y.cols, [](auto& out, auto& in) { out += in; }, y.row(s), x.row(i));
    const T n = static_cast<T>(std::max<index_t>(rows.length(s), 1));
    detail::each_lane(
        y.cols, [n](auto& out) { out /= n; }, y.row(s));
  });
}

template <class T>
void cpu<T>::pool_mean_backward(view dx, const_view dy, const layout& rows) {
  detail::for_each_block(dy.rows, dx.size(), [&](index_t s) {
    const T n = static_cast<T>(rows.length(s));
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      detail::each_lane(
          dx.cols, [n](auto& out, auto& in) { out = in / n; }, dx.row(i), dy.row(s));
  });
}

// |x| counts as at least 1e-12: a row of zeros stays one.
template <class T>
void cpu<T>::normalize_rows(view y, const_view x) {
  using lane = detail::lane<T>;
  detail::for_each_block(x.rows, x.size(), [&](index_t i) {
    const T squares = detail::sum_lanes(
        x.cols, [](const lane& v) { return lane(v.square()); }, x.row(i));
    const T norm = std::max(std::sqrt(squares), T(1e-12));
    detail::each_lane(
        x.cols, [norm](auto& out, auto& in) { out = in / norm; }, y.row(i), x.row(i));
  });
}

}  // namespace graft
