// SPDX-License-Identifier: MIT
// Matrix products of the CPU backend, by Eigen, which threads them itself.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

namespace graft {

template <class T>
void cpu<T>::product_nt(view y, const_view x, const_view w, T s, bool add) {
  if (!add)
    fill(y, T(0));
  detail::add_product_nt<T>(y, x, w, s);
}

template <class T>
void cpu<T>::product_nn(view y, const_view x, const_view w, T s, bool add) {
  if (!add)
    fill(y, T(0));
  detail::add_product_nn<T>(y, x, w, s);
}

template <class T>
void cpu<T>::product_tn(view y, const_view x, const_view w, T s, bool add) {
  if (!add)
    fill(y, T(0));
  detail::add_product_tn<T>(y, x, w, s);
}

template <class T>
void cpu<T>::linear(view y, const_view x, const_view w, const_view b) {
  if (b.data)
    detail::for_each_block(y.rows, y.size(),
                           [&](index_t i) { std::copy_n(b.data, y.cols, y.row(i)); });
  product_nt(y, x, w, T(1), b.data != nullptr);
}

template <class T>
void cpu<T>::linear_activated(view y, view z, const_view x, const_view w, const_view b,
                              activation f) {
  linear(z, x, w, b);
  activate(y, z, f);
}

template <class T>
void cpu<T>::sum_rows(view y, const_view x) {
  const auto row = [](index_t, const detail::lane<T>& v) { return v; };
  detail::sum_columns(y.data, x.rows, x.cols, row, x);
}

}  // namespace graft
