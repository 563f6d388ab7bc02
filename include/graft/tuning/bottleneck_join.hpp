// SPDX-License-Identifier: MIT
// A join with an adapter inside it.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/adapter_branch.hpp>
#include <graft/tuning/join_entry.hpp>

#include <utility>

namespace graft {

// A join J with a bottleneck inside it, h being the sub-layer's output and t the residual:
//   y = J(h + A(J(h, t)), t)      over add_norm:  LN(h + A(LN(h + t)) + t)
// the same pretrained norm is applied twice (Pfeiffer et al. 2021, arXiv:2005.00247; AdapterHub's
// seq_bn). By its options, as AdapterHub has them:
//   original_ln_before = false   A reads h
//   original_ln_after = false    y is what A and its residual give
//   residual                     input: A's own input in place of h;  post_add: h + t in place of h
// so AdapterPlus (Steitz & Roth 2024, arXiv:2406.06820), which has A's input as residual and no
// norm after it, is y = x + A(x) with x = J(h, t).
//
// Keeps what the adapter and the calls of the join keep. While `dropped` it is its base.
template <join_layer J, class Branch, join_form Form>
struct bottleneck_join {
  using backend_type = typename J::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using branch = Branch;
  using spec = typename Branch::spec;
  using entry = join_entry<J, Form>;

  J base;
  branch adapter;
  bool dropped = false;

  bottleneck_join() = default;
  bottleneck_join(J join, const spec& s)
      : base(std::move(join)), adapter(base.in(), base.in(), s) {}
  bottleneck_join(J join, const spec& s, random_stream& random)
      : bottleneck_join(std::move(join), s) {
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

  // The join before the adapter is gone back through when its inputs or its own parameters are
  // asked for, the one after it also when the adapter is.
  template <demand D>
  static constexpr demand of_branch = entry::template of_adapter<D>;
  template <demand D>
  static constexpr demand of_outer = D.after(of_branch<D>.input || D.trains());

  template <demand D>
  struct cache {
    typename entry::template cache<D> inner;
    cache_t<branch, of_branch<D>> adapter;
    cache_t<J, of_outer<D>> outer;
  };

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    if (dropped)
      return base.template join<of_outer<D>>(std::move(h), t, c.outer, k);
    auto in = entry::template enter<D>(base, h, t, c.inner, k);
    h = {};
    tensor y = adapter.template forward<of_branch<D>>(in.x, c.adapter, k, &in.r);
    in = {};
    if constexpr (Form.original_ln_after)
      return base.template join<of_outer<D>>(std::move(y), t, c.outer, k);
    else
      return y;
  }

  template <demand D, class G>
  auto split(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!of_outer<D>.any()) {
      return nothing{};
    } else {
      const auto base_gradient = part<D>(g, &gradient::base);
      tensor dt, dr;
      if (Form.original_ln_after || dropped) {
        auto outer = base.template split<of_outer<D>>(std::move(dy), c.outer, base_gradient, k);
        dy = std::move(outer.h);
        if constexpr (D.input)
          dt = std::move(outer.t);
      }
      if constexpr (D.input) {
        if (dropped)
          return branches<tensor>{std::move(dy), std::move(dt)};
      } else {
        if (dropped)
          return nothing{};
      }
      constexpr bool wanted = entry::template residual_wanted<D>;
      auto dx = adapter.template backward<of_branch<D>>(
          std::move(dy), c.adapter, part<D>(g, &gradient::adapter), k, wanted ? &dr : nullptr);
      return entry::template leave<D>(base, std::move(dx), std::move(dr), std::move(dt), c.inner,
                                      base_gradient, k);
    }
  }
};

template <class L, class... Rest>
bottleneck_join(L, bottleneck, Rest&&...) -> bottleneck_join<L>;

}  // namespace graft
