// SPDX-License-Identifier: MIT
// A layer as a user would write it: no model, no frozen form, nothing but what the concept asks
// for.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>

#include <utility>

namespace graft_test {

// y[i, j] = w[j] x[i, in - 1 - j] + b[j]: affine, and square.
template <graft::backend Backend>
struct toy_layer {
  using backend_type = Backend;
  using tensor = typename Backend::tensor;
  using parameter = typename Backend::parameter;
  using context = graft::context<Backend>;
  static constexpr bool affine = true;

  parameter weight, bias;

  toy_layer() = default;
  explicit toy_layer(graft::index_t width) : weight(1, width), bias(1, width) {}

  graft::index_t in() const { return weight.cols; }
  graft::index_t out() const { return weight.cols; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(graft::at::weight, z.weight...);
    f(graft::at::bias, z.bias...);
  }

  struct gradient {
    parameter weight, bias;
  };
  struct bias_gradient {
    graft::nothing weight;
    parameter bias;
  };

  template <graft::demand D>
  struct cache {};
  template <graft::demand D>
  requires(D.params == graft::params::all) struct cache<D> {
    tensor x;
  };

  template <graft::demand D>
  tensor forward(const tensor& x, cache<D>& c, const context& k) const {
    tensor y = k.make(x.rows, x.cols);
    for (graft::index_t i = 0; i < x.rows; ++i)
      for (graft::index_t j = 0; j < x.cols; ++j)
        y(i, j) = weight(0, j) * x(i, x.cols - 1 - j) + bias(0, j);
    if constexpr (D.params == graft::params::all)
      c.x = x;
    return y;
  }

  template <graft::demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                const context& k) const {
    if constexpr (D.trains())
      Backend::sum_rows(g->bias, dy);
    if constexpr (D.params == graft::params::all)
      for (graft::index_t i = 0; i < dy.rows; ++i)
        for (graft::index_t j = 0; j < dy.cols; ++j)
          g->weight(0, j) += dy(i, j) * c.x(i, dy.cols - 1 - j);
    if constexpr (D.input) {
      tensor dx = k.make(dy.rows, dy.cols);
      for (graft::index_t i = 0; i < dy.rows; ++i)
        for (graft::index_t j = 0; j < dy.cols; ++j)
          dx(i, dy.cols - 1 - j) = weight(0, j) * dy(i, j);
      return dx;
    } else {
      return graft::nothing{};
    }
  }
};

}  // namespace graft_test
