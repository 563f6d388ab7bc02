// SPDX-License-Identifier: MIT
// A post-LN Transformer layer: two sub-layers, each met by its residual in a join.
#pragma once

#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/model/attention.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/tuning/occupant.hpp>

#include <type_traits>
#include <utility>

namespace graft {

// The sizes and numbers of a Transformer encoder.
struct transformer_config {
  index_t width = 768;
  index_t layers = 12;
  index_t heads = 12;
  index_t inner = 3072;
  enum activation activation = activation::gelu;
  double epsilon = 1e-12;
  double hidden_dropout = 0.1;
  double attention_dropout = 0.1;
};

// a = J₁(attention(x), x);  y = J₂(feed_forward(a), a). Keeps what its parts keep.
// Scope is that of the layer: its depth, at::layer entered.
template <backend Backend, class Scope>
struct transformer_layer {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  using attention_type =
      node<Scope, at::attention_t, self_attention<B, typename Scope::template enter<at::attention_t>>>;
  using feed_forward_type =
      node<Scope, at::feed_forward_t,
           graft::feed_forward<B, typename Scope::template enter<at::feed_forward_t>>>;
  template <class Join, class NormTag>
  using bare_join =
      add_norm<leaf<typename Scope::template enter<Join>, NormTag, layer_norm<B>>, NormTag>;
  using attention_join_base = bare_join<at::attention_join_t, at::attention_norm_t>;
  using feed_forward_join_base = bare_join<at::feed_forward_join_t, at::feed_forward_norm_t>;
  using attention_join_type = node<Scope, at::attention_join_t, attention_join_base>;
  using feed_forward_join_type = node<Scope, at::feed_forward_join_t, feed_forward_join_base>;

  attention_type attention;
  attention_join_type attention_join;
  feed_forward_type feed_forward;
  feed_forward_join_type feed_forward_join;

  transformer_layer() = default;
  explicit transformer_layer(const transformer_config& c)
      : attention(make_node<Scope, at::attention_t>(
            self_attention<B, typename Scope::template enter<at::attention_t>>(
                c.width, c.heads, c.attention_dropout, c.hidden_dropout))),
        attention_join(make_join<at::attention_join_t, at::attention_norm_t>(c)),
        feed_forward(make_node<Scope, at::feed_forward_t>(
            graft::feed_forward<B, typename Scope::template enter<at::feed_forward_t>>(
                c.width, c.inner, c.activation, c.hidden_dropout))),
        feed_forward_join(make_join<at::feed_forward_join_t, at::feed_forward_norm_t>(c)) {}

  index_t in() const { return attention.in(); }
  index_t out() const { return feed_forward.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::attention, z.attention...);
    f(at::attention_join, z.attention_join...);
    f(at::feed_forward, z.feed_forward...);
    f(at::feed_forward_join, z.feed_forward_join...);
  }

  struct mirror {
    gradient_t<attention_type> attention;
    gradient_t<attention_join_type> attention_join;
    gradient_t<feed_forward_type> feed_forward;
    gradient_t<feed_forward_join_type> feed_forward_join;
  };
  using gradient =
      std::conditional_t<trainable<attention_type> || trainable<attention_join_type> ||
                             trainable<feed_forward_type> || trainable<feed_forward_join_type>,
                         mirror, nothing>;

  // From below: each part hands a gradient on when anything before it is reached.
  template <demand D>
  static constexpr demand of_attention_join = D.after(reached<attention_type>(D));
  template <demand D>
  static constexpr demand of_feed_forward =
      D.after(reached<attention_join_type>(of_attention_join<D>));
  template <demand D>
  static constexpr demand of_feed_forward_join =
      D.after(reached<feed_forward_type>(of_feed_forward<D>));

  template <demand D>
  struct cache {
    cache_t<attention_type, D> attention;
    cache_t<attention_join_type, of_attention_join<D>> attention_join;
    cache_t<feed_forward_type, of_feed_forward<D>> feed_forward;
    cache_t<feed_forward_join_type, of_feed_forward_join<D>> feed_forward_join;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor h = attention.template forward<D>(x, c.attention, k);
    tensor a = attention_join.template join<of_attention_join<D>>(std::move(h), x,
                                                                  c.attention_join, k);
    tensor f = feed_forward.template forward<of_feed_forward<D>>(a, c.feed_forward, k);
    return feed_forward_join.template join<of_feed_forward_join<D>>(std::move(f), a,
                                                                    c.feed_forward_join, k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr demand outer = of_feed_forward_join<D>;
    constexpr demand inner = of_attention_join<D>;
    if constexpr (!reached<feed_forward_join_type>(outer)) {
      return nothing{};
    } else {
      auto top = feed_forward_join.template split<outer>(
          std::move(dy), c.feed_forward_join, part<D>(g, &mirror::feed_forward_join), k);
      if constexpr (!outer.input) {
        return nothing{};
      } else {
        auto da = feed_forward.template backward<of_feed_forward<D>>(
            std::move(top.h), c.feed_forward, part<D>(g, &mirror::feed_forward), k);
        if constexpr (!of_feed_forward<D>.input) {
          return nothing{};
        } else {
          da = k.own(std::move(da));
          B::add(da, top.t);
          top.t = {};
          auto low = attention_join.template split<inner>(
              std::move(da), c.attention_join, part<D>(g, &mirror::attention_join), k);
          if constexpr (!inner.input) {
            return nothing{};
          } else {
            auto dx = attention.template backward<D>(std::move(low.h), c.attention,
                                                     part<D>(g, &mirror::attention), k);
            if constexpr (D.input) {
              dx = k.own(std::move(dx));
              B::add(dx, low.t);
              return dx;
            } else {
              return nothing{};
            }
          }
        }
      }
    }
  }

 private:
  template <class Join, class NormTag>
  static auto make_join(const transformer_config& c) {
    return make_node<Scope, Join>(bare_join<Join, NormTag>{
        make_leaf<typename Scope::template enter<Join>, NormTag>(
            layer_norm<B>(c.width, c.epsilon))});
  }
};

}  // namespace graft
