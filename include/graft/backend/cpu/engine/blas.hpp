// SPDX-License-Identifier: MIT
// Matrix products by a BLAS with the C interface: OpenBLAS, BLIS, MKL.
//
// The backend calls it on several threads at once and wants one thread of it each time. A BLAS that is built
// for OpenMP sees that by itself. Of others the program must ask it: GRAFT_BLAS_IS_OPENBLAS, which CMake defines
// where it finds OpenBLAS, does so at the first product, for the whole program.
#pragma once

#include <graft/core/view.hpp>

#include <string_view>
#include <type_traits>

#include <cblas.h>

namespace graft::detail {

struct blas_engine {
  static constexpr std::string_view name = "blas";

  template <class T>
  static void product_nt(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    product(CblasNoTrans, CblasTrans, x.cols, y, x, w, s, add);
  }
  template <class T>
  static void product_nn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    product(CblasNoTrans, CblasNoTrans, x.cols, y, x, w, s, add);
  }
  template <class T>
  static void product_tn(matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w, T s,
                         bool add) {
    product(CblasTrans, CblasNoTrans, x.rows, y, x, w, s, add);
  }

 private:
  template <class T>
  static void product(CBLAS_TRANSPOSE of_x, CBLAS_TRANSPOSE of_w, index_t depth, matrix_view<T> y,
                      matrix_view<const T> x, matrix_view<const T> w, T s, bool add) {
    if (y.size() == 0 || (depth == 0 && add))
      return;
#ifdef GRAFT_BLAS_IS_OPENBLAS
    [[maybe_unused]] static const bool alone = (openblas_set_num_threads(1), true);
#endif
    const auto n = [](index_t i) { return static_cast<int>(i); };
    if constexpr (std::is_same_v<T, float>)
      cblas_sgemm(CblasRowMajor, of_x, of_w, n(y.rows), n(y.cols), n(depth), s, x.data, n(x.stride), w.data,
                  n(w.stride), add ? T(1) : T(0), y.data, n(y.stride));
    else
      cblas_dgemm(CblasRowMajor, of_x, of_w, n(y.rows), n(y.cols), n(depth), s, x.data, n(x.stride), w.data,
                  n(w.stride), add ? T(1) : T(0), y.data, n(y.stride));
  }
};

}  // namespace graft::detail
