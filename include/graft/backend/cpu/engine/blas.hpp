// SPDX-License-Identifier: MIT
// Matrix products by a BLAS with the C interface: OpenBLAS, BLIS, MKL.
//
// The backend calls it on several threads at once and wants one thread of it each time. A BLAS that is built
// for OpenMP is told so through that. GRAFT_BLAS_IS_OPENBLAS, which CMake defines where it finds OpenBLAS, asks
// it for one thread at the first product, for the whole program.
#pragma once

#include <graft/backend/cpu/engine/product_form.hpp>

#include <string_view>
#include <type_traits>

#include <cblas.h>

namespace graft::detail {

struct blas_engine {
  static constexpr std::string_view name = "blas";

  template <class T>
  static void product(product_form form, matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                      T s, bool add) {
    if (y.size() == 0)
      return;
#ifdef GRAFT_BLAS_IS_OPENBLAS
    [[maybe_unused]] static const bool alone = (openblas_set_num_threads(1), true);
#endif
    const auto n = [](index_t i) { return static_cast<int>(i); };
    const auto of_x = form == product_form::tn ? CblasTrans : CblasNoTrans;
    const auto of_w = form == product_form::nt ? CblasTrans : CblasNoTrans;
    const int depth = n(depth_of(form, x));
    const T before = add ? T(1) : T(0);
    if constexpr (std::is_same_v<T, float>)
      cblas_sgemm(CblasRowMajor, of_x, of_w, n(y.rows), n(y.cols), depth, s, x.data, n(x.stride), w.data,
                  n(w.stride), before, y.data, n(y.stride));
    else
      cblas_dgemm(CblasRowMajor, of_x, of_w, n(y.rows), n(y.cols), depth, s, x.data, n(x.stride), w.data,
                  n(w.stride), before, y.data, n(y.stride));
  }
};

}  // namespace graft::detail
