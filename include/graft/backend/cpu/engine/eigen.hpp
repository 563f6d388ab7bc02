// SPDX-License-Identifier: MIT
// Matrix products by Eigen: as fast as the instruction set that the program is compiled for.
#pragma once

#include <graft/backend/cpu/eigen.hpp>

#include <string_view>

namespace graft::detail {

struct eigen_engine {
  static constexpr std::string_view name = "eigen";

  template <class T>
  static void product_nt(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    if (!add)
      set_zero(y);
    map(y).noalias() += s * map(x) * map(w).transpose();
  }
  template <class T>
  static void product_nn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    if (!add)
      set_zero(y);
    map(y).noalias() += s * map(x) * map(w);
  }
  template <class T>
  static void product_tn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    if (!add)
      set_zero(y);
    map(y).noalias() += s * map(x).transpose() * map(w);
  }
};

}  // namespace graft::detail
