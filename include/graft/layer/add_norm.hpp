// SPDX-License-Identifier: MIT
// The two joins of a Transformer: add, and add then normalise.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>

#include <utility>

namespace graft {

// y = h + t (pre-LN Transformers). Keeps nothing.
template <backend B>
struct add {
  using backend_type = B;
  using tensor = typename B::tensor;
  using gradient = nothing;

  index_t width = 0;
  index_t in() const { return width; }

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}
  template <backend To>
  using on_backend = add<To>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.width...);
  }

  template <demand D>
  struct cache {};

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>&, const context<B>& k) const {
    expect_size("add: columns of the residual", h.cols, t.cols);
    h = k.own(std::move(h));
    B::add(h, t);
    return h;
  }
  template <demand D, class G>
  auto split(tensor dy, cache<D>&, G*, const context<B>&) const {
    if constexpr (D.input)
      return branches<tensor>{dy, dy};
    else
      return nothing{};
  }
};

// y = N(h + t) (post-LN Transformers), N the norm at the site NormTag. Keeps what the norm keeps.
template <layer Norm, class NormTag>
struct add_norm {
  using backend_type = typename Norm::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;

  Norm norm;
  index_t in() const { return norm.in(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(NormTag{}, z.norm...);
  }
  template <backend To>
    requires movable_to<Norm, To>
  using on_backend = add_norm<on_backend_t<Norm, To>, NormTag>;

  struct mirror {
    gradient_t<Norm> norm;
  };
  using gradient = std::conditional_t<trainable<Norm>, mirror, nothing>;

  template <demand D>
  struct cache {
    cache_t<Norm, D> norm;
  };

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    expect_size("add_norm: columns of the residual", h.cols, t.cols);
    if constexpr (requires { norm.template forward_sum<D>(h, t, c.norm, k); }) {
      return norm.template forward_sum<D>(std::move(h), t, c.norm, k);
    } else {
      h = k.own(std::move(h));
      B::add(h, t);
      return norm.template forward<D>(h, c.norm, k);
    }
  }
  template <demand D, class G>
  auto split(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto d = norm.template backward<D>(std::move(dy), c.norm, part<D>(g, &mirror::norm), k);
    if constexpr (D.input)
      return branches<tensor>{d, d};
    else
      return nothing{};
  }
};

}  // namespace graft
