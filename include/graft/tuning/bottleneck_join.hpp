// SPDX-License-Identifier: MIT
// A join with an adapter inside it.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/adapter_branch.hpp>

#include <utility>

namespace graft {

// A join with a bottleneck inside it, J being the join, h the sub-layer's output and t the residual:
//   y = J(h + A(J(h, t)), t)      over add_norm:  LN(h + A(LN(h + t)) + t)
// the same pretrained norm is applied twice (Pfeiffer et al. 2021, arXiv:2005.00247; AdapterHub's
// seq_bn).
//
// Keeps what the adapter and two calls of the join keep.
template <join_layer J>
struct bottleneck_join {
  using backend_type = typename J::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using branch = adapter_branch<B>;

  J base;
  branch adapter;

  bottleneck_join() = default;
  bottleneck_join(J join, const bottleneck& spec)
      : base(std::move(join)), adapter(base.in(), base.in(), spec) {}
  bottleneck_join(J join, const bottleneck& spec, random_stream& random)
      : bottleneck_join(std::move(join), spec) {
    adapter.initialize(random);
  }

  index_t in() const { return base.in(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::adapter, z.adapter...);
  }

  struct gradient {
    gradient_t<J> base;
    gradient_t<branch> adapter;
  };

  // The inner join is gone back through when its inputs or its own parameters are asked for, the outer
  // one also when the adapter is.
  template <demand D>
  static constexpr demand of_branch = D.after(reached<J>(D));
  template <demand D>
  static constexpr demand of_outer = D.after(of_branch<D>.input || D.trains());

  template <demand D>
  struct cache {
    cache_t<J, D> inner;
    cache_t<branch, of_branch<D>> adapter;
    cache_t<J, of_outer<D>> outer;
  };

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    tensor x = base.template join<D>(h, t, c.inner, k);
    tensor u = adapter.template forward<of_branch<D>>(x, c.adapter, k);
    B::add(u, h);
    return base.template join<of_outer<D>>(std::move(u), t, c.outer, k);
  }

  template <demand D, class G>
  auto split(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!of_outer<D>.any()) {
      return nothing{};
    } else {
      const auto base_gradient = part<D>(g, &gradient::base);
      auto outer =
          base.template split<of_outer<D>>(std::move(dy), c.outer, base_gradient, k);
      auto dx = adapter.template backward<of_branch<D>>(outer.h, c.adapter,
                                                        part<D>(g, &gradient::adapter), k);
      if constexpr (of_branch<D>.input) {
        auto inner = base.template split<D>(std::move(dx), c.inner, base_gradient, k);
        if constexpr (D.input) {
          outer.h = k.own(std::move(outer.h));
          B::add(outer.h, inner.h);
          outer.t = k.own(std::move(outer.t));
          B::add(outer.t, inner.t);
          return outer;
        } else {
          return nothing{};
        }
      } else {
        return nothing{};
      }
    }
  }
};

template <class L, class... Rest>
bottleneck_join(L, bottleneck, Rest&&...) -> bottleneck_join<L>;

}  // namespace graft
