// SPDX-License-Identifier: MIT
// Activation checkpointing: a layer that computes its activations again instead of keeping them.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/first_rows.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/base_part.hpp>

#include <string_view>
#include <utility>

namespace graft {

template <layer L>
struct recompute_layer;

// Around any layer over rows:  on(at::layer, recompute{})  keeps one tensor per Transformer layer.
// The rule comes after those that decorate the same site.
struct recompute {
  static constexpr std::string_view name = "recompute";
  static constexpr bool in_files = false;  // computes what the layer does: no file need tell of it
  constexpr bool row_by_row() const { return true; }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = layer<L>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(sizeof(L) == 0,
                  "graft: recompute needs a layer over rows (at::layer, at::attention and "
                  "at::feed_forward are such; joins, tables and at::memory are not)");
  };
  template <layer L, auto Spec>
  using apply = recompute_layer<L>;
};

// y = L(x), computed again in backward with the same dropout masks: the gradients are L's to the
// last bit.
//
// Keeps x where backward enters L, nothing elsewhere; L's own cache exists during its backward
// only. Chen et al. 2016, arXiv:1604.06174.
template <layer L>
struct recompute_layer : detail::affine_as<L> {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using gradient = gradient_t<L>;

  L base;

  recompute_layer() = default;
  explicit recompute_layer(L layer, const recompute& = {}) : base(std::move(layer)) {}

  index_t in() const requires requires(const L& l) { l.in(); } { return base.in(); }
  index_t out() const requires requires(const L& l) { l.out(); } { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, detail::base_part(z)...);
  }

  template <backend To>
    requires movable_to<L, To>
  using on_backend = recompute_layer<on_backend_t<L, To>>;

  static constexpr demand nothing_wanted{false, params::none};
  template <demand D>
  struct cache {
    cache_t<L, nothing_wanted> none;
  };
  template <demand D>
    requires(reached<L>(D))
  struct cache<D> {
    cache_t<L, nothing_wanted> none;
    cache_t<L, D> again;  // empty but while backward runs
    tensor x;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    if constexpr (reached<L>(D))
      c.x = x;
    return base.template forward<nothing_wanted>(x, c.none, k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!reached<L>(D)) {
      return nothing{};
    } else {
      base.template forward<D>(c.x, c.again, k);
      c.x = {};
      auto dx = base.template backward<D>(std::move(dy), c.again, g, k);
      c.again = {};
      return dx;
    }
  }

  template <demand D>
    requires gives_first_rows<L>
  tensor forward_first(const tensor& x, cache<D>& c, const context<B>& k,
                       const context<B>& first) const {
    if constexpr (reached<L>(D))
      c.x = x;
    return base.template forward_first<nothing_wanted>(x, c.none, k, first);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    if constexpr (!reached<L>(D)) {
      return nothing{};
    } else {
      base.template forward_first<D>(c.x, c.again, k, first);
      c.x = {};
      auto dx = base.template backward_first<D>(std::move(dy), c.again, g, k, first);
      c.again = {};
      return dx;
    }
  }

  dense_form<B> as_dense() const
    requires(dense_layer<L> && has_dense_form<L>)
  {
    return dense_form_of(base);
  }
};

}  // namespace graft
