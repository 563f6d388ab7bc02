// SPDX-License-Identifier: MIT
// An activation function as a layer.
#pragma once

#include <graft/core/layer.hpp>

#include <utility>

namespace graft {

// y = f(x), element by element. Keeps x when asked for its gradient.
template <backend B>
struct activation_layer {
  using backend_type = B;
  using tensor = typename B::tensor;
  using gradient = nothing;

  activation function = activation::gelu;

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}

  template <demand D>
  struct cache {};
  template <demand D>
    requires(D.input)
  struct cache<D> {
    tensor x;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = k.make(x.rows, x.cols);
    B::activate(y, x, function);
    if constexpr (D.input)
      c.x = x;
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, G*,
                [[maybe_unused]] const context<B>& k) const {
    if constexpr (D.input) {
      dy = k.own(std::move(dy));
      B::activate_backward(dy, dy, c.x, function);
      return dy;
    } else {
      return nothing{};
    }
  }
};

}  // namespace graft
