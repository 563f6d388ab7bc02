// SPDX-License-Identifier: MIT
// The two kinds of projection R with which ReFT edits rows.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/random.hpp>
#include <graft/layer/initial.hpp>

#include <cmath>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

namespace at {
struct reft_rows_t {
  static constexpr std::string_view name = "rows";
  static constexpr bool decays = true;
};
// Not decayed: towards zero is towards the frame, nothing that is simpler.
struct reft_reflections_t {
  static constexpr std::string_view name = "reflections";
  static constexpr bool decays = false;
};
struct reft_frame_t {
  static constexpr std::string_view name = "frame";
  static constexpr bool decays = false;
};
inline constexpr reft_rows_t reft_rows{};
inline constexpr reft_reflections_t reft_reflections{};
inline constexpr reft_frame_t reft_frame{};
}  // namespace at

// R [r, width], any matrix. Starts uniform in ±1/√width.
template <class Backend>
struct free_rows {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  typename B::parameter values;

  free_rows() = default;
  free_rows(index_t r, index_t width) : values(r, width) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::reft_rows, z.values...);
  }
  struct gradient {
    typename B::parameter values;
  };

  tensor rows(const context<B>& k) const { return k.copy(values); }
  void backward(const tensor&, tensor dr, gradient& g, const context<B>&) const {
    B::add(g.values, dr);
  }
  void initialize(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(values.cols));
    set_values<B>(values, [&] { return random.uniform(-bound, bound); });
  }
};

// R [r, width] with orthonormal rows, made of P [r, width] by Householder reflections:
//   Rᵀ = G₀ G₁ … H₀ … Hᵣ₋₁ (the first r columns of 1) diag(s),   Hₖ = 1 − 2 v vᵀ / |v|²
// with v[i] = P[k, i] behind k, 1 at k and 0 before it, and s the sign of P[k, k]. The Gⱼ reflect
// in the same way the rows of the frozen `frame`; where P starts, −1 at k and 0 behind it, R is the
// first rows of their product, an orthonormal frame that is uniformly random but for the signs of
// its rows.
//
// This is PyTorch's orthogonal parametrization (householder) with the frame in place of its `base`.
// What stands before the diagonal of P counts for nothing. Computed on the host, wherever the rest is:
// r · width numbers. Throws shape_error for more rows than columns.
template <class Backend>
struct orthonormal_rows {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  using matrix = host_matrix<scalar>;

  parameter reflections;            // P
  typename B::frozen_weight frame;  // [any, width]

  orthonormal_rows() = default;
  orthonormal_rows(index_t r, index_t width) : reflections(r, width), frame(r, width) {
    if (r > width)
      throw shape_error("reft.rank: expected at most " + std::to_string(width) + ", found " +
                        std::to_string(r));
  }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::reft_reflections, z.reflections...);
    f(at::reft_frame, z.frame...);
  }
  struct gradient {
    parameter reflections;
    nothing frame;
  };

  tensor rows(const context<B>& k) const {
    const matrix p = read_matrix<B>(reflections), v = directions(p), f = read_frozen<B>(frame);
    matrix r{p.rows, p.cols, std::vector<scalar>(p.values.size())};
    for (index_t i = 0; i < r.rows; ++i)
      r(i, i) = p(i, i) < 0 ? scalar(-1) : scalar(1);
    for (index_t i = v.rows; i-- > 0;)
      reflect(r, v, i);
    for (index_t i = f.rows; i-- > 0;)
      reflect(r, f, i);
    tensor y = k.make_exact(r.rows, r.cols);
    B::from_host(y, r.values);
    return y;
  }

  // A reflection undoes itself: R and dR go back through them together, and nothing between is
  // kept.
  void backward(const tensor& rows, const tensor& drows, gradient& g, const context<B>& k) const {
    const matrix v = directions(read_matrix<B>(reflections)), f = read_frozen<B>(frame);
    matrix r = read_matrix<B>(rows), dr = read_matrix<B>(drows);
    matrix dv{v.rows, v.cols, std::vector<scalar>(v.values.size())};
    for (index_t i = 0; i < f.rows; ++i) {
      reflect(r, f, i);
      reflect(dr, f, i);
    }
    for (index_t i = 0; i < v.rows; ++i) {
      // before = after − 2 (after v) vᵀ / |v|², and the same for its gradient
      const double over = 2 / dot(v, i, v, i);
      reflect(r, v, i);
      for (index_t row = 0; row < r.rows; ++row) {
        const double of_r = dot(r, row, v, i), of_dr = dot(dr, row, v, i);
        for (index_t j = i + 1; j < r.cols; ++j)
          dv(i, j) += static_cast<scalar>(over * (over * of_r * of_dr * v(i, j) -
                                                  of_dr * r(row, j) - of_r * dr(row, j)));
      }
      reflect(dr, v, i);
    }
    tensor d = k.make_exact(dv.rows, dv.cols);
    B::from_host(d, dv.values);
    B::add(g.reflections, d);
  }

  void initialize(random_stream& random) {
    const index_t rows = reflections.rows, cols = reflections.cols;
    matrix p{rows, cols, std::vector<scalar>(static_cast<std::size_t>(rows * cols))};
    // What takes axis i to a random direction in the space of the axes from i on (Stewart 1980,
    // SIAM J. Numer. Anal. 17).
    const auto f = std::make_shared<matrix>(p);
    for (index_t i = 0; i < rows; ++i) {
      p(i, i) = -1;
      for (index_t j = i; j < cols; ++j)
        (*f)(i, j) = static_cast<scalar>(random.normal());
      const auto length = static_cast<scalar>(std::sqrt(dot(*f, i, *f, i)));
      (*f)(i, i) += (*f)(i, i) < 0 ? -length : length;
    }
    B::from_host(reflections, p.values);
    frame = {f->values.data(), rows, cols, f};
  }

 private:
  static double dot(const matrix& a, index_t i, const matrix& b, index_t j) {
    double sum = 0;
    for (index_t c = 0; c < a.cols; ++c)
      sum += static_cast<double>(a(i, c)) * static_cast<double>(b(j, c));
    return sum;
  }
  // m (1 − 2 vᵀ v / |v|²) with v the row i of `of`.
  static void reflect(matrix& m, const matrix& of, index_t i) {
    const double over = 2 / dot(of, i, of, i);
    for (index_t row = 0; row < m.rows; ++row) {
      const double along = over * dot(m, row, of, i);
      for (index_t c = 0; c < m.cols; ++c)
        m(row, c) -= static_cast<scalar>(along * static_cast<double>(of(i, c)));
    }
  }
  // The v of all reflections.
  static matrix directions(matrix v) {
    for (index_t i = 0; i < v.rows; ++i) {
      for (index_t j = 0; j < i; ++j)
        v(i, j) = 0;
      v(i, i) = 1;
    }
    return v;
  }
};

}  // namespace graft
