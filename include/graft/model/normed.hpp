// SPDX-License-Identifier: MIT
// A sub-layer with a norm in front of it.
#pragma once

#include <graft/core/first_rows.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>

#include <type_traits>
#include <utility>

namespace graft {

// y = L(N(x)), N the norm at the site NormTag. Keeps what the two keep.
template <layer Norm, class NormTag, layer L>
struct normed {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;

  Norm norm;
  L base;

  index_t in() const { return norm.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(NormTag{}, z.norm...);
    f(at::base, z.base...);
  }
  template <backend To>
    requires(movable_to<Norm, To> && movable_to<L, To>)
  using on_backend = normed<on_backend_t<Norm, To>, NormTag, on_backend_t<L, To>>;

  struct mirror {
    gradient_t<Norm> norm;
    gradient_t<L> base;
  };
  using gradient = std::conditional_t<trainable<Norm> || trainable<L>, mirror, nothing>;

  template <demand D>
  static constexpr demand of_base = D.after(reached<Norm>(D));
  template <demand D>
  struct cache {
    cache_t<Norm, D> norm;
    cache_t<L, of_base<D>> base;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const tensor n = norm.template forward<D>(x, c.norm, k);
    return base.template forward<of_base<D>>(n, c.base, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto dn =
        base.template backward<of_base<D>>(std::move(dy), c.base, part<D>(g, &mirror::base), k);
    if constexpr (reached<Norm>(D))
      return norm.template backward<D>(std::move(dn), c.norm, part<D>(g, &mirror::norm), k);
    else
      return nothing{};
  }

  template <demand D>
    requires gives_first_rows<L>
  tensor forward_first(const tensor& x, cache<D>& c, const context<B>& k,
                       const context<B>& first) const {
    const tensor n = norm.template forward<D>(x, c.norm, k);
    return base.template forward_first<of_base<D>>(n, c.base, k, first);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    auto dn = base.template backward_first<of_base<D>>(std::move(dy), c.base,
                                                       part<D>(g, &mirror::base), k, first);
    if constexpr (reached<Norm>(D))
      return norm.template backward<D>(std::move(dn), c.norm, part<D>(g, &mirror::norm), k);
    else
      return nothing{};
  }
};

}  // namespace graft
