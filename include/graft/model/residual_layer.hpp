// SPDX-License-Identifier: MIT
// Two sub-layers, each met by its residual in a join: what every Transformer layer of an encoder
// is.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/first_rows.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/row_by_row.hpp>

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

// a = J₁(S₁(x), x);  y = J₂(S₂(a), a). Keeps what its parts keep.
// Bases has the types of S₁, J₁, S₂ and J₂ before the recipe grafts anything on them, and makes
// them: post_norm_bases and pre_norm_bases. Its scope is that of the layer: its depth, at::layer
// entered.
template <class Bases>
struct residual_layer {
  using backend_type = typename Bases::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using Scope = typename Bases::scope_type;

  using attention_type = node<Scope, at::attention_t, typename Bases::attention>;
  using attention_join_type = node<Scope, at::attention_join_t, typename Bases::attention_join>;
  using feed_forward_type = node<Scope, at::feed_forward_t, typename Bases::feed_forward>;
  using feed_forward_join_type =
      node<Scope, at::feed_forward_join_t, typename Bases::feed_forward_join>;

  attention_type attention;
  attention_join_type attention_join;
  feed_forward_type feed_forward;
  feed_forward_join_type feed_forward_join;

  residual_layer() = default;
  explicit residual_layer(const transformer_config& c)
      : attention(make_node<Scope, at::attention_t>(Bases::make_attention(c))),
        attention_join(make_node<Scope, at::attention_join_t>(Bases::make_attention_join(c))),
        feed_forward(make_node<Scope, at::feed_forward_t>(Bases::make_feed_forward(c))),
        feed_forward_join(
            make_node<Scope, at::feed_forward_join_t>(Bases::make_feed_forward_join(c))) {}

  index_t in() const { return attention.in(); }
  index_t out() const { return feed_forward.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::attention, z.attention...);
    f(at::attention_join, z.attention_join...);
    f(at::feed_forward, z.feed_forward...);
    f(at::feed_forward_join, z.feed_forward_join...);
  }
  template <class To>
  static constexpr bool parts_movable =
      movable_to<attention_type, To> && movable_to<attention_join_type, To> &&
      movable_to<feed_forward_type, To> && movable_to<feed_forward_join_type, To>;

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
    return after_attention<D>(attention.template forward<D>(x, c.attention, k), x, c, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto d = to_attention<D>(std::move(dy), c, g, k);
    if constexpr (!of_attention_join<D>.input) {
      return nothing{};
    } else {
      auto dx = attention.template backward<D>(std::move(d.h), c.attention,
                                               part<D>(g, &mirror::attention), k);
      if constexpr (D.input) {
        dx = k.own(std::move(dx));
        B::add(dx, d.t);
        return dx;
      } else {
        return nothing{};
      }
    }
  }

  // Only keys and values are of all rows (core/first_rows.hpp).
  static constexpr bool all_row_by_row =
      row_by_row_at<Scope, at::layer_t, at::attention_t, at::attention_join_t, at::attention_norm_t,
                    at::feed_forward_t, at::feed_forward_input_t, at::feed_forward_output_t,
                    at::feed_forward_join_t, at::feed_forward_norm_t>();
  template <demand D>
    requires(gives_first_rows<attention_type> && all_row_by_row)
  tensor forward_first(const tensor& x, cache<D>& c, const context<B>& k,
                       const context<B>& first) const {
    return after_attention<D>(attention.template forward_first<D>(x, c.attention, k, first),
                              first_rows(x, k), c, first);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    auto d = to_attention<D>(std::move(dy), c, g, first);
    if constexpr (!of_attention_join<D>.input) {
      return nothing{};
    } else {
      auto dx = attention.template backward_first<D>(std::move(d.h), c.attention,
                                                     part<D>(g, &mirror::attention), k, first);
      if constexpr (D.input) {
        dx = k.own(std::move(dx));
        B::add(dx, at_first_rows(d.t, k));
        return dx;
      } else {
        return nothing{};
      }
    }
  }

 private:
  // y, given h = S₁(x).
  template <demand D>
  tensor after_attention(tensor h, const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor a =
        attention_join.template join<of_attention_join<D>>(std::move(h), x, c.attention_join, k);
    tensor f = feed_forward.template forward<of_feed_forward<D>>(a, c.feed_forward, k);
    return feed_forward_join.template join<of_feed_forward_join<D>>(std::move(f), a,
                                                                    c.feed_forward_join, k);
  }
  // The gradients of h and x in J₁, or nothing.
  template <demand D, class G>
  auto to_attention(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr demand outer = of_feed_forward_join<D>;
    if constexpr (!reached<feed_forward_join_type>(outer)) {
      return nothing{};
    } else {
      auto top = feed_forward_join.template split<outer>(std::move(dy), c.feed_forward_join,
                                                         part<D>(g, &mirror::feed_forward_join), k);
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
          return attention_join.template split<of_attention_join<D>>(
              std::move(da), c.attention_join, part<D>(g, &mirror::attention_join), k);
        }
      }
    }
  }
};

}  // namespace graft
