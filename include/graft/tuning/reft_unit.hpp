// SPDX-License-Identifier: MIT
// The edit that ReFT makes of a row.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/random.hpp>
#include <graft/layer/initial.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/reft_projection.hpp>

#include <cmath>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct reft_source_t {
  static constexpr std::string_view name = "source";
};
struct reft_projection_t {
  static constexpr std::string_view name = "projection";
};
inline constexpr reft_source_t reft_source{};
inline constexpr reft_projection_t reft_projection{};
}  // namespace at

// y = x + (W x + b − R x) R for every row, or, where it does not `Subtract`, y = x + (W x + b) R.
//   W [r, width], b [1, r], R [r, width]
//
// W and b start uniform in ±1/√width. Keeps x, the r numbers in brackets and R when asked for its
// parameters' gradients, R when asked for its input's.
template <class Backend, class Projection, bool Subtract>
struct reft_unit {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  linear<B> source;
  Projection projection;

  reft_unit() : reft_unit(0, 0) {}
  reft_unit(index_t r, index_t width) : source(width, r, r > 0), projection(r, width) {}

  index_t in() const { return source.in(); }
  index_t out() const { return source.in(); }
  index_t rank() const { return source.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::reft_source, z.source...);
    f(at::reft_projection, z.projection...);
  }
  struct gradient {
    gradient_t<linear<B>> source;
    typename Projection::gradient projection;
  };

  template <demand D>
  struct cache {
    cache_t<linear<B>, D> source;
  };
  template <demand D>
    requires(D.any())
  struct cache<D> {
    cache_t<linear<B>, D> source;
    tensor x, s, r;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor r = projection.rows(k);
    tensor s = source.template forward<D>(x, c.source, k);
    if constexpr (Subtract)
      B::product_nt(s, x, r, -1, true);
    tensor y = k.copy(x);
    B::product_nn(y, s, r, 1, true);
    if constexpr (D.params == params::all) {
      c.x = x;
      c.s = std::move(s);
    }
    if constexpr (D.any())
      c.r = std::move(r);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      tensor ds = k.make(dy.rows, rank());
      B::product_nt(ds, dy, c.r, 1, false);
      if constexpr (D.params == params::all) {
        tensor dr = k.make_exact(c.r.rows, c.r.cols);
        B::product_tn(dr, c.s, dy, 1, false);
        if constexpr (Subtract)
          B::product_tn(dr, ds, c.x, -1, true);
        projection.backward(c.r, std::move(dr), g->projection, k);
      }
      if constexpr (D.input) {
        tensor dx = k.own(std::move(dy));
        if constexpr (Subtract)
          B::product_nn(dx, ds, c.r, -1, true);
        B::add(dx, source.template backward<D>(std::move(ds), c.source,
                                               part<D>(g, &gradient::source), k));
        return dx;
      } else {
        source.template backward<D>(std::move(ds), c.source, part<D>(g, &gradient::source), k);
        return nothing{};
      }
    }
  }

  void initialize(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(in()));
    set_values<B>(source.weight, [&] { return random.uniform(-bound, bound); });
    set_values<B>(source.bias, [&] { return random.uniform(-bound, bound); });
  }
};

}  // namespace graft
