// SPDX-License-Identifier: MIT
// Matrix products by Eigen: as fast as the instruction set that the program is compiled for.
#pragma once

#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/engine/product_form.hpp>

#include <string_view>

namespace graft::detail {

struct eigen_engine {
  static constexpr std::string_view name = "eigen";

  template <class T>
  static void product(product_form form, matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                      T s, bool add) {
    if (!add)
      set_zero(y);
    switch (form) {
      case product_form::nt: map(y).noalias() += s * map(x) * map(w).transpose(); break;
      case product_form::nn: map(y).noalias() += s * map(x) * map(w); break;
      case product_form::tn: map(y).noalias() += s * map(x).transpose() * map(w); break;
    }
  }
};

}  // namespace graft::detail
