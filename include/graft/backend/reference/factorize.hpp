// SPDX-License-Identifier: MIT
// Factorizations of the reference backend.
#pragma once

#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <vector>

namespace graft::detail {

template <class T>
struct reference_factorize {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;
  using column = std::vector<double>;

  // Turns pairs of columns until all are orthogonal; their lengths are then the singular values
  // (Hestenes 1958).
  static void svd(view u, view s, view v, const_view w) {
    const bool wide = w.cols > w.rows;
    std::vector<column> a = columns(w, wide);
    std::vector<column> turned(a.size(), column(a.size(), 0.0));
    for (std::size_t i = 0; i < a.size(); ++i)
      turned[i][i] = 1;
    double all = 0;  // Σ σ²: beside it what a column has left of rounding is nothing
    for (const column& x : a)
      all += dot(x, x);
    for (bool changed = true; changed;) {
      changed = false;
      for (std::size_t i = 0; i < a.size(); ++i)
        for (std::size_t j = i + 1; j < a.size(); ++j) {
          const double p = dot(a[i], a[i]), q = dot(a[j], a[j]), r = dot(a[i], a[j]);
          if (std::abs(r) <= 1e-15 * std::sqrt(p * q) || std::min(p, q) <= 1e-30 * all)
            continue;
          changed = true;
          const double z = (q - p) / (2 * r);
          const double t = (z >= 0 ? 1 : -1) / (std::abs(z) + std::sqrt(1 + z * z));
          const double c = 1 / std::sqrt(1 + t * t);
          turn(a[i], a[j], c, c * t);
          turn(turned[i], turned[j], c, c * t);
        }
    }
    std::vector<std::size_t> order(a.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t i, std::size_t j) { return dot(a[i], a[i]) > dot(a[j], a[j]); });
    for (index_t k = 0; k < s.cols; ++k) {
      const std::size_t from = order[std::size_t(k)];
      const double length = std::sqrt(dot(a[from], a[from]));
      s(0, k) = T(length);
      const column& right = turned[from];
      const double over = length > 0 ? 1 / length : 0;
      for (index_t i = 0; i < u.rows; ++i)
        u(i, k) = T(wide ? right[std::size_t(i)] : a[from][std::size_t(i)] * over);
      for (index_t j = 0; j < v.cols; ++j)
        v(k, j) = T(wide ? a[from][std::size_t(j)] * over : right[std::size_t(j)]);
    }
  }

  // Gram and Schmidt's, each column made orthogonal twice. The diagonal of R is positive; elsewhere it
  // may not be: Q and R are only fixed up to the sign of a column and its row.
  static void qr(view q, view r, const_view w) {
    const std::size_t k = std::size_t(std::min(w.rows, w.cols));
    std::vector<column> basis = columns(w, false);
    const std::vector<column> all = basis;
    basis.resize(k);
    for (std::size_t j = 0; j < k; ++j) {
      for (int twice = 0; twice < 2; ++twice)
        for (std::size_t i = 0; i < j; ++i)
          turn_away(basis[j], basis[i]);
      const double length = std::sqrt(dot(basis[j], basis[j]));
      for (double& x : basis[j])
        x /= length;
    }
    for (index_t i = 0; i < w.rows; ++i)
      for (index_t j = 0; j < q.cols; ++j)
        q(i, j) = T(basis[std::size_t(j)][std::size_t(i)]);
    for (index_t i = 0; i < r.rows; ++i)
      for (index_t j = 0; j < w.cols; ++j)
        r(i, j) = T(j < i ? 0.0 : dot(basis[std::size_t(i)], all[std::size_t(j)]));
  }

 private:
  static std::vector<column> columns(const_view w, bool transposed) {
    std::vector<column> all(std::size_t(transposed ? w.rows : w.cols));
    for (std::size_t j = 0; j < all.size(); ++j)
      for (index_t i = 0; i < (transposed ? w.cols : w.rows); ++i)
        all[j].push_back(double(transposed ? w(index_t(j), i) : w(i, index_t(j))));
    return all;
  }
  static double dot(const column& a, const column& b) {
    return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
  }
  static void turn(column& a, column& b, double c, double s) {
    for (std::size_t i = 0; i < a.size(); ++i) {
      const double x = a[i], y = b[i];
      a[i] = c * x - s * y;
      b[i] = s * x + c * y;
    }
  }
  static void turn_away(column& a, const column& unit) {
    const double share = dot(a, unit);
    for (std::size_t i = 0; i < a.size(); ++i)
      a[i] -= share * unit[i];
  }
};

}  // namespace graft::detail
