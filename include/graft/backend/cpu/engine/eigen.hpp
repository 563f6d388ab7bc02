// SPDX-License-Identifier: MIT
// Matrix products by Eigen: as fast as the instruction set that the program is compiled for. Its kernels are
// called as its expressions call them; expressions would take four times as long to compile.
#pragma once

#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/engine/product_form.hpp>

#include <string_view>

#include <Eigen/Core>

namespace graft::detail {

// y += s · m v, with m [rows, depth] in that order, and v and y `step` numbers apart: v_step is 1 where m is
// row-major, y_step where it is column-major.
template <int Order, class T>
void eigen_times_vector(index_t rows, index_t depth, T* y, index_t y_step, matrix_view<const T> m, const T* v,
                        index_t v_step, T s) {
  using namespace Eigen;
  using matrix = internal::const_blas_data_mapper<T, Index, Order>;
  using vector = internal::const_blas_data_mapper<T, Index, Order == RowMajor ? ColMajor : RowMajor>;
  internal::general_matrix_vector_product<Index, T, matrix, Order, false, T, vector, false>::run(
      rows, depth, matrix(m.data, m.stride), vector(v, v_step), y, y_step, s);
}

// y += s · op(x) op(w), with op(x) [rows, depth] and op(w) [depth, columns] in these orders.
template <int OrderX, int OrderW, class T>
void eigen_times_matrix(index_t depth, matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                        T s) {
  using namespace Eigen;
  using blocks = internal::gemm_blocking_space<RowMajor, T, T, Dynamic, Dynamic, Dynamic>;
  blocks room(y.rows, y.cols, depth, 1, true);
  internal::general_matrix_matrix_product<Index, T, OrderX, false, T, OrderW, false, RowMajor, 1>::run(
      y.rows, y.cols, depth, x.data, x.stride, w.data, w.stride, y.data, 1, y.stride, s, room);
}

struct eigen_engine {
  static constexpr std::string_view name = "eigen";

  template <class T>
  static void product(product_form form, matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                      T s, bool add) {
    constexpr int by_rows = Eigen::RowMajor, by_columns = Eigen::ColMajor;
    if (!add)
      set_zero(y);
    const index_t depth = depth_of(form, x);
    if (y.size() == 0 || depth == 0)
      return;
    const bool nt = form == product_form::nt, tn = form == product_form::tn;
    if (y.rows == 1 && nt)
      return eigen_times_vector<by_rows>(y.cols, depth, y.data, 1, w, x.data, 1, s);
    if (y.rows == 1)
      return eigen_times_vector<by_columns>(y.cols, depth, y.data, 1, w, x.data, tn ? x.stride : 1, s);
    if (y.cols == 1 && tn && y.stride == 1)
      return eigen_times_vector<by_columns>(y.rows, depth, y.data, 1, x, w.data, w.stride, s);
    if (y.cols == 1 && !tn && (nt || w.stride == 1))
      return eigen_times_vector<by_rows>(y.rows, depth, y.data, y.stride, x, w.data, 1, s);
    switch (form) {
      case product_form::nt: return eigen_times_matrix<by_rows, by_columns>(depth, y, x, w, s);
      case product_form::nn: return eigen_times_matrix<by_rows, by_rows>(depth, y, x, w, s);
      case product_form::tn: return eigen_times_matrix<by_columns, by_rows>(depth, y, x, w, s);
    }
  }
};

}  // namespace graft::detail
