// SPDX-License-Identifier: MIT
// A post-LN Transformer layer: the joins normalise.
#pragma once

#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/model/attention.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/model/residual_layer.hpp>
#include <graft/tuning/occupant.hpp>

namespace graft {

// Sub-layers as they are, and joins that add and then normalise.
template <backend Backend, class Scope>
struct post_norm_bases {
  using backend_type = Backend;
  using B = backend_type;
  using scope_type = Scope;
  template <class S>
  using in = typename Scope::template enter<S>;
  template <class Join, class Norm>
  using join = add_norm<leaf<in<Join>, Norm, layer_norm<B>>, Norm>;

  using attention = self_attention<B, in<at::attention_t>>;
  using feed_forward = graft::feed_forward<B, in<at::feed_forward_t>>;
  using attention_join = join<at::attention_join_t, at::attention_norm_t>;
  using feed_forward_join = join<at::feed_forward_join_t, at::feed_forward_norm_t>;

  static attention make_attention(const transformer_config& c) {
    return {c.width, c.heads, c.attention_dropout, c.hidden_dropout};
  }
  static feed_forward make_feed_forward(const transformer_config& c) {
    return {c.width, c.inner, c.activation, c.hidden_dropout};
  }
  static attention_join make_attention_join(const transformer_config& c) {
    return make_join<at::attention_join_t, at::attention_norm_t>(c);
  }
  static feed_forward_join make_feed_forward_join(const transformer_config& c) {
    return make_join<at::feed_forward_join_t, at::feed_forward_norm_t>(c);
  }

 private:
  template <class Join, class Norm>
  static join<Join, Norm> make_join(const transformer_config& c) {
    return {make_leaf<in<Join>, Norm>(layer_norm<B>(c.width, c.epsilon))};
  }
};

// a = N₁(attention(x) + x);  y = N₂(feed_forward(a) + a). Vaswani et al. 2017, arXiv:1706.03762.
template <backend Backend, class Scope>
struct transformer_layer : residual_layer<post_norm_bases<Backend, Scope>> {
  using base = residual_layer<post_norm_bases<Backend, Scope>>;
  using base::base;

  template <backend To>
    requires(base::template parts_movable<To>)
  using on_backend = transformer_layer<To, Scope>;
};

}  // namespace graft
