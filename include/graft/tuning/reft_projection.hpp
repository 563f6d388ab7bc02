// SPDX-License-Identifier: MIT
// The two kinds of projection R with which ReFT edits rows.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/random.hpp>
#include <graft/layer/initial.hpp>

#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

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
// What stands before the diagonal of P counts for nothing. Throws shape_error for more rows than
// columns.
template <class Backend>
struct orthonormal_rows {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  using view = typename B::view;
  using const_view = typename B::const_view;

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
    const tensor v = directions(k);
    tensor r = k.make(v.rows, v.cols), along = k.make(v.rows, 1);
    B::fill(r, 0);
    for (index_t i = 0; i < r.rows; ++i)
      r(i, i) = reflections(i, i) < 0 ? scalar(-1) : scalar(1);
    for (index_t i = v.rows; i-- > 0;)
      reflect(r, row(v, i), along);
    for (index_t i = frame.rows; i-- > 0;)
      reflect(r, row(frame, i), along);
    return r;
  }

  // A reflection undoes itself: R and dR go back through them together, and nothing between is
  // kept.
  void backward(tensor r, tensor dr, gradient& g, const context<B>& k) const {
    const tensor v = directions(k);
    tensor of_r = k.make(r.rows, 1), of_dr = k.make(r.rows, 1);
    tensor dv = k.make(1, r.cols), both = k.make(1, 1);
    r = k.own(std::move(r));
    for (index_t i = 0; i < frame.rows; ++i) {
      reflect(r, row(frame, i), of_r);
      reflect(dr, row(frame, i), of_r);
    }
    for (index_t i = 0; i < v.rows; ++i) {
      // before = after − 2 (after v) vᵀ / |v|², and the same for its gradient
      const scalar over = 2 / squared(row(v, i));
      reflect(r, row(v, i), of_r);
      B::product_nt(of_r, r, row(v, i), 1, false);
      B::product_nt(of_dr, dr, row(v, i), 1, false);
      B::product_tn(dv, of_dr, r, -over, false);
      B::product_tn(dv, of_r, dr, -over, true);
      B::product_tn(both, of_r, of_dr, over * over, false);
      B::add_scaled(dv, row(v, i), both(0, 0));
      reflect(dr, row(v, i), of_dr);
      const index_t behind = r.cols - i - 1;
      B::add(view(g.reflections).rows_of(i, 1).columns(i + 1, behind),
             const_view(dv).columns(i + 1, behind));
    }
  }

  void initialize(random_stream& random) {
    B::fill(reflections, 0);
    for (index_t i = 0; i < reflections.rows; ++i)
      reflections(i, i) = -1;
    // What takes axis i to a random direction in the space of the axes from i on (Stewart 1980,
    // SIAM J. Numer. Anal. 17).
    parameter f(reflections.rows, reflections.cols);
    for (index_t i = 0; i < f.rows; ++i) {
      for (index_t j = i; j < f.cols; ++j)
        f(i, j) = static_cast<scalar>(random.normal());
      const scalar length = std::sqrt(squared(row(f, i)));
      f(i, i) += f(i, i) < 0 ? -length : length;
    }
    frame = std::move(f);
  }

 private:
  static const_view row(const_view m, index_t i) { return m.rows_of(i, 1); }
  static scalar squared(const_view v) {
    return static_cast<scalar>(B::squared_norm(v));
  }
  // m (1 − 2 vᵀ v / |v|²), v [1, width]; `along` [rows, 1] is written over.
  static void reflect(view m, const_view v, view along) {
    B::product_nt(along, m, v, 1, false);
    B::product_nn(m, along, v, -2 / squared(v), true);
  }
  // The v of all reflections.
  tensor directions(const context<B>& k) const {
    tensor v = k.copy(reflections);
    for (index_t i = 0; i < v.rows; ++i) {
      for (index_t j = 0; j < i; ++j)
        v(i, j) = 0;
      v(i, i) = 1;
    }
    return v;
  }
};

}  // namespace graft
