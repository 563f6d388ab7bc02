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

  // f(L(x)), which is one operation where L has it.
  template <demand OfL, demand D, class L>
  tensor forward_of(const L& l, const tensor& x, cache_t<L, OfL>& of_l, cache<D>& c,
                    const context<B>& k) const {
    if constexpr (requires(tensor* z) { l.template forward_activated<OfL>(x, function, z, of_l, k); }) {
      tensor* z = nullptr;
      if constexpr (D.input)
        z = &c.x;
      return l.template forward_activated<OfL>(x, function, z, of_l, k);
    } else {
      return forward<D>(l.template forward<OfL>(x, of_l, k), c, k);
    }
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
