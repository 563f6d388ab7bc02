// SPDX-License-Identifier: MIT
// Matrix products of the CPU backend: cut into tiles of the output, each computed by the engine on one thread.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/engine.hpp>
#include <graft/backend/cpu/small_product.hpp>
#include <graft/backend/cpu/tiles.hpp>

#include <algorithm>

namespace graft {

template <class T>
std::string_view cpu<T>::engine_name() {
  return detail::engine::name;
}

template <class T>
void cpu<T>::product_nt(view y, const_view x, const_view w, T s, bool add) {
  detail::for_each_tile(y.rows, y.cols, x.cols, [&](const detail::tile& t) {
    detail::engine::product<T>(detail::product_form::nt, t.of(y), x.rows_of(t.row, t.rows),
                               w.rows_of(t.col, t.cols), s, add);
  });
}

template <class T>
void cpu<T>::product_nn(view y, const_view x, const_view w, T s, bool add) {
  detail::for_each_tile(y.rows, y.cols, x.cols, [&](const detail::tile& t) {
    detail::engine::product<T>(detail::product_form::nn, t.of(y), x.rows_of(t.row, t.rows),
                               w.columns(t.col, t.cols), s, add);
  });
}

namespace detail {

// Outputs of so few rows or columns, the gradients of low-rank factors, stay in registers and cache while
// operands are read once; engines read the wide one in pieces of the thin one's size.
inline constexpr index_t thin = 32;

// y = s xᵀ w or y += s xᵀ w, y of few rows, as the gradient of A.
template <class T>
void few_rows_tn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s, bool add) {
  constexpr index_t block = 128;  // of the rows that are summed
  for (index_t k = 0; k < x.rows || k == 0; k += block) {
    const index_t n = std::min(block, x.rows - k);
    small_product(y, transposed(x.rows_of(k, n)), w.rows_of(k, n), s, add || k > 0);
  }
}

// The same, y of few columns, as that of B: its transpose piece by piece.
template <class T>
void few_columns_tn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s, bool add) {
  constexpr index_t piece = 64;
  alignas(64) T room[thin * piece];
  for (index_t i = 0; i < y.rows; i += piece) {
    const index_t n = std::min(piece, y.rows - i);
    const matrix_view<T> turned(room, y.cols, n);
    few_rows_tn<T>(turned, w, x.columns(i, n), s, false);
    for (index_t j = 0; j < n; ++j)
      for (index_t l = 0; l < y.cols; ++l)
        y(i + j, l) = add ? y(i + j, l) + turned(l, j) : turned(l, j);
  }
}

}  // namespace detail

template <class T>
void cpu<T>::product_tn(view y, const_view x, const_view w, T s, bool add) {
  detail::for_each_tile(y.rows, y.cols, x.rows, [&](const detail::tile& t) {
    const const_view left = x.columns(t.row, t.rows), right = w.columns(t.col, t.cols);
    if (y.rows <= detail::thin)
      detail::few_rows_tn<T>(t.of(y), left, right, s, add);
    else if (y.cols <= detail::thin)
      detail::few_columns_tn<T>(t.of(y), left, right, s, add);
    else
      detail::engine::product<T>(detail::product_form::tn, t.of(y), left, right, s, add);
  });
}

namespace detail {

// y = x wᵀ + b, and what `then` makes of each row of a tile while that is in the cache.
template <class T, class F>
void linear_by_tiles(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                     matrix_view<const T> b, const F& then) {
  for_each_tile(y.rows, y.cols, x.cols, [&](const tile& t) {
    const matrix_view<T> part = t.of(y);
    if (b.data)
      for (index_t i = 0; i < part.rows; ++i)
        std::copy_n(b.data + t.col, part.cols, part.row(i));
    engine::product<T>(product_form::nt, part, x.rows_of(t.row, t.rows), w.rows_of(t.col, t.cols), T(1),
                       b.data != nullptr);
    then(t);
  });
}

}  // namespace detail

template <class T>
void cpu<T>::linear(view y, const_view x, const_view w, const_view b) {
  detail::linear_by_tiles<T>(y, x, w, b, [](const detail::tile&) {});
}

template <class T>
void cpu<T>::linear_activated(view y, view z, const_view x, const_view w, const_view b,
                              activation f) {
  detail::linear_by_tiles<T>(z, x, w, b, [&](const detail::tile& t) { activate(t.of(y), t.of(z), f); });
}

template <class T>
void cpu<T>::sum_rows(view y, const_view x) {
  const auto row = [](index_t, const detail::lane<T>& v) { return v; };
  detail::sum_columns(y.data, x.rows, x.cols, row, x);
}

}  // namespace graft
