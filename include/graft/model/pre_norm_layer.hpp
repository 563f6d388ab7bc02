// SPDX-License-Identifier: MIT
// A pre-LN Transformer layer: the sub-layers normalise what they read.
#pragma once

#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/model/attention.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/model/normed.hpp>
#include <graft/model/residual_layer.hpp>
#include <graft/tuning/occupant.hpp>

namespace graft {

// Sub-layers with a norm in front of them, and joins that add.
template <backend Backend, class Scope>
struct pre_norm_bases {
  using backend_type = Backend;
  using B = backend_type;
  using scope_type = Scope;
  template <class S>
  using in = typename Scope::template enter<S>;
  template <class SubLayer, class Norm, class L>
  using after_norm = normed<leaf<in<SubLayer>, Norm, layer_norm<B>>, Norm, L>;

  using attention =
      after_norm<at::attention_t, at::attention_norm_t, self_attention<B, in<at::attention_t>>>;
  using feed_forward = after_norm<at::feed_forward_t, at::feed_forward_norm_t,
                                  graft::feed_forward<B, in<at::feed_forward_t>>>;
  using attention_join = add<B>;
  using feed_forward_join = add<B>;

  static attention make_attention(const transformer_config& c) {
    return {make_norm<at::attention_t, at::attention_norm_t>(c),
            {c.width, c.heads, c.attention_dropout, c.hidden_dropout}};
  }
  static feed_forward make_feed_forward(const transformer_config& c) {
    return {make_norm<at::feed_forward_t, at::feed_forward_norm_t>(c),
            {c.width, c.inner, c.activation, c.hidden_dropout}};
  }
  static add<B> make_attention_join(const transformer_config& c) { return {c.width}; }
  static add<B> make_feed_forward_join(const transformer_config& c) { return {c.width}; }

 private:
  template <class SubLayer, class Norm>
  static auto make_norm(const transformer_config& c) {
    return make_leaf<in<SubLayer>, Norm>(layer_norm<B>(c.width, c.epsilon));
  }
};

// a = attention(N₁(x)) + x;  y = feed_forward(N₂(a)) + a. The norms are inside at::attention and
// at::feed_forward: what stands beside these places (placement::parallel) reads x and a themselves,
// and what lies in the joins meets no norm. Xiong et al. 2020, arXiv:2002.04745.
template <backend Backend, class Scope>
struct pre_norm_layer : residual_layer<pre_norm_bases<Backend, Scope>> {
  using base = residual_layer<pre_norm_bases<Backend, Scope>>;
  using base::base;

  template <backend To>
    requires(base::template parts_movable<To>)
  using on_backend = pre_norm_layer<To, Scope>;
};

}  // namespace graft
