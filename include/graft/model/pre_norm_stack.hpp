// SPDX-License-Identifier: MIT
// A stack of pre-LN layers and the norm that ends it.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/model/pre_norm_layer.hpp>
#include <graft/model/stack.hpp>
#include <graft/tuning/occupant.hpp>

#include <string_view>
#include <type_traits>
#include <utility>

namespace graft {

namespace at {
// The norm after the last layer; models with post-LN layers have none.
struct encoder_norm_t : norm_t {
  static constexpr std::string_view label = "encoder_norm";
  static constexpr std::string_view name = "encoder_norm";
};
inline constexpr encoder_norm_t encoder_norm{};
}  // namespace at

// y = N(stack(x)), N the norm at at::encoder_norm. Keeps what the two keep.
template <backend Backend, class Scope>
struct pre_norm_stack {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using stack_type = stack<B, Scope, pre_norm_layer>;
  using norm_type = leaf<Scope, at::encoder_norm_t, layer_norm<B>>;

  stack_type layers;
  norm_type norm;

  pre_norm_stack() = default;
  template <class Config>
  explicit pre_norm_stack(const Config& c)
      : layers(c), norm(make_leaf<Scope, at::encoder_norm_t>(layer_norm<B>(c.width, c.epsilon))) {}

  index_t depth() const { return layers.depth(); }
  index_t frozen_layers() const { return layers.frozen_layers(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::encoder, z.layers...);
    f(at::encoder_norm, z.norm...);
  }

  struct mirror {
    gradient_t<stack_type> layers;
    gradient_t<norm_type> norm;
  };
  using gradient =
      std::conditional_t<trainable<stack_type> || trainable<norm_type>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_norm = D.after(reached<stack_type>(D));
  template <demand D>
  struct cache {
    cache_t<stack_type, D> layers;
    cache_t<norm_type, of_norm<D>> norm;
  };

  template <demand D>
  tensor forward(tensor x, cache<D>& c, const context<B>& k) const {
    return forward_above<D>(forward_below<D>(std::move(x), c, k), c, k);
  }
  template <demand D>
  tensor forward_below(tensor x, cache<D>& c, const context<B>& k) const {
    return layers.template forward_below<D>(std::move(x), c.layers, k);
  }
  template <demand D>
  tensor forward_above(tensor x, cache<D>& c, const context<B>& k) const {
    x = layers.template forward_above<D>(std::move(x), c.layers, k);
    return norm.template forward<of_norm<D>>(x, c.norm, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto dx =
        norm.template backward<of_norm<D>>(std::move(dy), c.norm, part<D>(g, &mirror::norm), k);
    c.norm = {};
    if constexpr (reached<stack_type>(D))
      return layers.template backward<D>(std::move(dx), c.layers, part<D>(g, &mirror::layers), k);
    else
      return nothing{};
  }

  template <demand D>
  tensor forward_first(tensor x, cache<D>& c, const context<B>& k, const context<B>& first) const {
    x = layers.template forward_first<D>(std::move(x), c.layers, k, first);
    return norm.template forward<of_norm<D>>(x, c.norm, first);
  }
  template <demand D>
  tensor forward_above_first(tensor x, cache<D>& c, const context<B>& k,
                             const context<B>& first) const {
    x = layers.template forward_above_first<D>(std::move(x), c.layers, k, first);
    return norm.template forward<of_norm<D>>(x, c.norm, first);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    auto dx = norm.template backward<of_norm<D>>(std::move(dy), c.norm, part<D>(g, &mirror::norm),
                                                 first);
    c.norm = {};
    if constexpr (reached<stack_type>(D))
      return layers.template backward_first<D>(std::move(dx), c.layers, part<D>(g, &mirror::layers),
                                               k, first);
    else
      return nothing{};
  }
};

}  // namespace graft
