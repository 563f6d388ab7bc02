// SPDX-License-Identifier: MIT
// Operations of the reference backend between a matrix and a row, a column, or a number for each
// sequence.
#pragma once

#include <graft/core/layout.hpp>
#include <graft/core/view.hpp>

#include <cmath>

namespace graft::detail {

template <class T>
struct reference_broadcast {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  static void multiply(view y, const_view x) {
    each(y, [&](index_t i, index_t j) { y(i, j) *= x(i, j); });
  }
  static void add_row(view y, const_view row) {
    each(y, [&](index_t i, index_t j) { y(i, j) += row(0, j); });
  }
  static void multiply_row(view y, const_view x, const_view row, bool add) {
    each(y, [&](index_t i, index_t j) { y(i, j) = (add ? y(i, j) : T(0)) + x(i, j) * row(0, j); });
  }
  static void multiply_column(view y, const_view x, const_view column, bool add) {
    each(y,
         [&](index_t i, index_t j) { y(i, j) = (add ? y(i, j) : T(0)) + x(i, j) * column(i, 0); });
  }
  static void dot_columns(view y, const_view a, const_view b) {
    for (index_t j = 0; j < a.cols; ++j) {
      double sum = y(0, j);
      for (index_t i = 0; i < a.rows; ++i)
        sum += double(a(i, j)) * double(b(i, j));
      y(0, j) = T(sum);
    }
  }
  static void dot_rows(view y, const_view a, const_view b, T s, bool add) {
    for (index_t i = 0; i < a.rows; ++i)
      y(i, 0) = T((add ? double(y(i, 0)) : 0.0) + double(s) * dot(a, b, i));
  }
  static void divide_by_root(view y, const_view a, const_view b) {
    each(y, [&](index_t i, index_t j) { y(i, j) = T(double(a(i, j)) / std::sqrt(double(b(i, j)))); });
  }

  static void scale_sequences(view y, const_view x, const_view g, const layout& rows) {
    for (index_t s = 0; s < rows.sequences(); ++s)
      for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
        for (index_t j = 0; j < y.cols; ++j)
          y(i, j) = x(i, j) * g(s, 0);
  }
  static void dot_sequences(view y, const_view a, const_view b, const layout& rows) {
    for (index_t s = 0; s < rows.sequences(); ++s) {
      double sum = 0;
      for (index_t i = rows.first(s); i < rows.first(s + 1); ++i)
        sum += dot(a, b, i);
      y(s, 0) = T(sum);
    }
  }

  static void prepend(view y, const_view p, const_view x, const layout& rows) {
    if (rows.sequences() == 0)
      return;
    const index_t more = (y.rows - x.rows) / rows.sequences();
    each(y, [&](index_t i, index_t j) {
      const auto [s, at] = place(i, more, rows);
      y(i, j) = at < more ? p(p.rows > more ? s * more + at : at, j)
                          : x(rows.first(s) + at - more, j);
    });
  }
  static void prepend_backward(view dp, view dx, const_view dy, const layout& rows) {
    if (rows.sequences() == 0)
      return;
    const index_t p = (dy.rows - rows.rows()) / rows.sequences();
    each(dy, [&](index_t i, index_t j) {
      const auto [s, at] = place(i, p, rows);
      if (at < p && dp.data)
        dp(dp.rows > p ? s * p + at : at, j) += dy(i, j);
      if (at >= p && dx.data)
        dx(rows.first(s) + at - p, j) = dy(i, j);
    });
  }

 private:
  struct spot {
    index_t sequence, at;
  };
  // Where row i of the lengthened batch lies.
  static spot place(index_t i, index_t p, const layout& rows) {
    index_t s = 0;
    while (i >= rows.length(s) + p)
      i -= rows.length(s++) + p;
    return {s, i};
  }
  static double dot(const_view a, const_view b, index_t i) {
    double sum = 0;
    for (index_t j = 0; j < a.cols; ++j)
      sum += double(a(i, j)) * double(b(i, j));
    return sum;
  }
  template <class U, class F>
  static void each(matrix_view<U> v, const F& f) {
    for (index_t i = 0; i < v.rows; ++i)
      for (index_t j = 0; j < v.cols; ++j)
        f(i, j);
  }
};

}  // namespace graft::detail
