// SPDX-License-Identifier: MIT
// A gate that lets a branch through by a number for each sequence.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/linear.hpp>

#include <utility>

namespace graft {

// y' = g_s · y for the rows of sequence s,  g_s = mean over its tokens of σ(W x + b);  W [1, in], σ
// the logistic function. Sequences have no padding here, so a gate does not depend on the rest of
// the batch.
//
// Keeps y, W x + b and g when gradients must pass, and x when asked for that of W. Mao et al. 2022
// (UniPELT), arXiv:2110.07577.
template <backend Backend>
struct adapter_gate {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  linear<B> map;

  adapter_gate() = default;
  explicit adapter_gate(index_t in) : map(in, 1) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.map...);
  }

  struct gradient {
    gradient_t<linear<B>> map;
  };
  template <demand D>
  struct cache {
    cache_t<linear<B>, D> map;
  };
  template <demand D>
    requires(D.any())
  struct cache<D> {
    cache_t<linear<B>, D> map;
    tensor y, z, g;
  };

  template <demand D>
  tensor apply(const tensor& x, tensor y, cache<D>& c, const context<B>& k) const {
    expect_size("adapter_gate: rows of the batch", k.batch.rows(), x.rows);
    tensor z = map.template forward<D>(x, c.map, k);
    tensor open = k.make(z.rows, 1), g = k.make(k.batch.sequences(), 1);
    B::activate(open, z, activation::sigmoid);
    B::pool_mean(g, open, k.batch);
    tensor gated = D.any() ? k.make(y.rows, y.cols) : k.own(std::move(y));
    if constexpr (D.any()) {
      B::scale_sequences(gated, y, g, k.batch);
      c.y = std::move(y);
      c.z = std::move(z);
      c.g = std::move(g);
    } else {
      B::scale_sequences(gated, gated, g, k.batch);
    }
    return gated;
  }

  // dy becomes the gradient of y; returns that of x, or nothing.
  template <demand D, class G>
  auto backward(tensor& dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      tensor dg = k.make(c.g.rows, 1), dz = k.make(c.z.rows, 1);
      B::dot_sequences(dg, dy, c.y, k.batch);
      B::pool_mean_backward(dz, dg, k.batch);
      B::activate_backward(dz, dz, c.z, activation::sigmoid);
      dy = k.own(std::move(dy));
      B::scale_sequences(dy, dy, c.g, k.batch);
      return map.template backward<D>(std::move(dz), c.map, part<D>(g, &gradient::map), k);
    }
  }
};

}  // namespace graft
