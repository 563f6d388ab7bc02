// SPDX-License-Identifier: MIT
// Operations of the CPU backend between a matrix and a row, a column, or a number for each sequence.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>

namespace graft {

template <class T>
void cpu<T>::add_row(view y, const_view row) {
  detail::for_each_block(y.rows, y.size(), [&](index_t i) {
    detail::each_lane(
        y.cols, [](auto& out, auto& r) { out += r; }, y.row(i), row.data);
  });
}

template <class T>
void cpu<T>::multiply_row(view y, const_view x, const_view row, bool add) {
  detail::for_each_block(y.rows, y.size(), [&](index_t i) {
    if (add)
      detail::each_lane(
          y.cols, [](auto& out, auto& in, auto& r) { out += in * r; }, y.row(i), x.row(i), row.data);
    else
      detail::each_lane(
          y.cols, [](auto& out, auto& in, auto& r) { out = in * r; }, y.row(i), x.row(i), row.data);
  });
}

template <class T>
void cpu<T>::multiply_column(view y, const_view x, const_view column, bool add) {
  detail::for_each_block(y.rows, y.size(), [&](index_t i) {
    const T c = column(i, 0);
    if (add)
      detail::each_lane(
          y.cols, [c](auto& out, auto& in) { out += in * c; }, y.row(i), x.row(i));
    else
      detail::each_lane(
          y.cols, [c](auto& out, auto& in) { out = in * c; }, y.row(i), x.row(i));
  });
}

template <class T>
void cpu<T>::dot_columns(view y, const_view a, const_view b) {
  using lane = detail::lane<T>;
  const auto both = [](index_t, const lane& u, const lane& v) { return lane(u * v); };
  detail::sum_columns(y.data, a.rows, a.cols, both, a, b);
}

template <class T>
void cpu<T>::dot_rows(view y, const_view a, const_view b, T s, bool add) {
  using lane = detail::lane<T>;
  detail::for_each_block(a.rows, a.size(), [&](index_t i) {
    const T sum = s * detail::sum_lanes(
                          a.cols, [](const lane& u, const lane& v) { return lane(u * v); },
                          a.row(i), b.row(i));
    y(i, 0) = add ? y(i, 0) + sum : sum;
  });
}

template <class T>
void cpu<T>::divide_by_root(view y, const_view a, const_view b) {
  detail::for_each_lane(
      y.rows, y.cols, [](auto& out, auto& u, auto& v) { out = u / v.sqrt(); }, y, a, b);
}

template <class T>
void cpu<T>::scale_sequences(view y, const_view x, const_view g, const layout& rows) {
  detail::for_each_block(rows.sequences(), y.size(), [&](index_t s) {
    const T c = g(s, 0);
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      detail::each_lane(
          y.cols, [c](auto& out, auto& in) { out = in * c; }, y.row(i), x.row(i));
  });
}

template <class T>
void cpu<T>::dot_sequences(view y, const_view a, const_view b, const layout& rows) {
  using lane = detail::lane<T>;
  detail::for_each_block(rows.sequences(), a.size(), [&](index_t s) {
    double sum = 0;
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      sum += detail::sum_lanes(
          a.cols, [](const lane& u, const lane& v) { return lane(u * v); }, a.row(i), b.row(i));
    y(s, 0) = static_cast<T>(sum);
  });
}

template <class T>
void cpu<T>::prepend(view y, const_view p, const_view x, const layout& rows) {
  const index_t more = (y.rows - x.rows) / std::max<index_t>(rows.sequences(), 1);
  const index_t step = p.rows > more ? more : 0;
  detail::for_each_block(rows.sequences(), y.size(), [&](index_t s) {
    index_t to = rows.first(s) + s * more;
    for (index_t i = s * step; i < s * step + more; ++i)
      std::copy_n(p.row(i), y.cols, y.row(to++));
    for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
      std::copy_n(x.row(i), y.cols, y.row(to++));
  });
}

// Threads share the rows in front, so that sequences are added in order.
template <class T>
void cpu<T>::prepend_backward(view dp, view dx, const_view dy, const layout& rows) {
  const index_t p = (dy.rows - rows.rows()) / std::max<index_t>(rows.sequences(), 1);
  const index_t step = dp.rows > p ? p : 0;
  if (dp.data)
    detail::for_each_block(p, dy.size(), [&](index_t i) {
      for (index_t s = 0; s < rows.sequences(); ++s)
        detail::each_lane(
            dy.cols, [](auto& out, auto& in) { out += in; }, dp.row(s * step + i),
            dy.row(rows.first(s) + s * p + i));
    });
  if (dx.data)
    detail::for_each_block(rows.sequences(), dx.size(), [&](index_t s) {
      for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
        std::copy_n(dy.row(i + (s + 1) * p), dx.cols, dx.row(i));
    });
}

}  // namespace graft
