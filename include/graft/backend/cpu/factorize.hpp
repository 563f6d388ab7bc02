// SPDX-License-Identifier: MIT
// Factorizations of the CPU backend, by Eigen, in double precision.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <Eigen/QR>
#include <Eigen/SVD>

namespace graft {

template <class T>
void cpu<T>::svd(view u, view s, view v, const_view w) {
  const Eigen::MatrixXd full = detail::map(w).template cast<double>();
  const Eigen::BDCSVD<Eigen::MatrixXd> of(full, Eigen::ComputeThinU | Eigen::ComputeThinV);
  const index_t k = s.cols;
  detail::map(u) = of.matrixU().leftCols(k).template cast<T>();
  detail::map(s) = of.singularValues().head(k).transpose().template cast<T>();
  detail::map(v) = of.matrixV().leftCols(k).transpose().template cast<T>();
}

template <class T>
void cpu<T>::qr(view q, view r, const_view w) {
  const Eigen::MatrixXd full = detail::map(w).template cast<double>();
  const Eigen::HouseholderQR<Eigen::MatrixXd> of(full);
  const index_t k = std::min(w.rows, w.cols);
  const Eigen::MatrixXd basis = of.householderQ() * Eigen::MatrixXd::Identity(w.rows, k);
  const Eigen::MatrixXd upper = of.matrixQR().topRows(k).template triangularView<Eigen::Upper>();
  detail::map(q) = basis.leftCols(q.cols).template cast<T>();
  detail::map(r) = upper.topRows(r.rows).template cast<T>();
}

}  // namespace graft
