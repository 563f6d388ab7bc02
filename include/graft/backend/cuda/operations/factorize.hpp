// SPDX-License-Identifier: MIT
// Factorisations of matrices of a device B, on the host: what starts from one does so once.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/reference/factorize.hpp>
#include <graft/core/view.hpp>

#include <cstddef>
#include <vector>

namespace graft::detail {

inline matrix_view<float> as_matrix(std::vector<float>& values, const const_device_view& like) {
  return {values.data(), like.rows, like.cols};
}
inline matrix_view<const float> as_matrix(const std::vector<float>& values,
                                          const const_device_view& like) {
  return {values.data(), like.rows, like.cols};
}

template <class B>
void svd_on_host(device_view u, device_view s, device_view v, const_device_view w) {
  const auto from = B::on_host(w);
  std::vector<float> a(std::size_t(u.size())), b(std::size_t(s.size())), c(std::size_t(v.size()));
  reference_factorize<float>::svd(as_matrix(a, u), as_matrix(b, s), as_matrix(c, v),
                                  as_matrix(from, w));
  B::from_host(u, a);
  B::from_host(s, b);
  B::from_host(v, c);
}
template <class B>
void qr_on_host(device_view q, device_view r, const_device_view w) {
  const auto from = B::on_host(w);
  std::vector<float> a(std::size_t(q.size())), b(std::size_t(r.size()));
  reference_factorize<float>::qr(as_matrix(a, q), as_matrix(b, r), as_matrix(from, w));
  B::from_host(q, a);
  B::from_host(r, b);
}

}  // namespace graft::detail
