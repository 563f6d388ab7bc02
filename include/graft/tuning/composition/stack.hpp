// SPDX-License-Identifier: MIT
// Adapters one after another in a join.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/composition/members.hpp>
#include <graft/tuning/join_entry.hpp>

#include <string_view>
#include <utility>

namespace graft {

template <join_layer J, class Branch, int N, join_form Form>
struct stacked_join;

namespace compose {

// | option    | meaning                                   | default      |
// | adapters  | how many, called a, b, c, …               | 2            |
// | each      | what each of them is; it goes into a join | bottleneck{} |
struct stack {
  int adapters = 2;
  bottleneck each{};

  static constexpr std::string_view name = "stack";

  constexpr void check() const { detail::check_composition(adapters, each); }
  constexpr bool row_by_row() const { return each.row_by_row(); }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    each.describe(f);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = join_layer<L>&& bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool join = join_layer<L>;
    static_assert(join,
                  "graft: a stack of adapters goes into a join (at::attention_join, "
                  "at::feed_forward_join; original_ln_before = false is after a sub-layer)");
    static_assert(!join, "graft: a bottleneck in a join takes placement::after only");
  };
  template <join_layer L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type = stacked_join<L, typename here::adapter, Spec.adapters, here::join>;
  };
  template <join_layer L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace compose

// y_0 = h,  y_{i+1} = A_i(x_i) + r_i  with x_i and r_i from (y_i, t) as join_entry has them,
// y = J(y_N, t), or y_N without original_ln_after.
//
// Keeps what the adapters and the calls of the join keep. While `dropped` it is its base.
template <join_layer J, class Branch, int N, join_form Form>
struct stacked_join {
  using backend_type = typename J::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using branch = Branch;
  using entry = join_entry<J, Form>;

  J base;
  detail::adapters<Branch, N> adapters;
  bool dropped = false;

  stacked_join() = default;
  stacked_join(J join, const compose::stack& s)
      : base(std::move(join)),
        adapters(detail::make_adapters<Branch, N>(base.in(), base.in(), s.each)) {}
  stacked_join(J join, const compose::stack& s, random_stream& random)
      : stacked_join(std::move(join), s) {
    for (Branch& adapter : adapters)
      adapter.initialize(random);
  }

  index_t in() const { return base.in(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    detail::adapter_parts(
        [&](detail::named_part part, auto&... each) {
          f(detail::named_part{"adapter." + part.name}, each...);
        },
        z.adapters...);
  }

  struct gradient {
    gradient_t<J> base;
    detail::adapters<gradient_t<Branch>, N> adapters;
  };

  // An adapter that is not the first hands a gradient on to those before it.
  template <demand D>
  static constexpr demand upper = D.after(D.trains());
  template <demand D>
  static constexpr demand of_outer = upper<D>;

  template <demand D>
  struct step_cache {
    typename entry::template cache<D> inner;
    cache_t<Branch, entry::template of_adapter<D>> adapter;
  };
  template <demand D>
  struct cache {
    step_cache<D> first;
    detail::adapters<step_cache<upper<D>>, N - 1> others;
    cache_t<J, of_outer<D>> outer;
  };

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    if (dropped)
      return base.template join<of_outer<D>>(std::move(h), t, c.outer, k);
    h = step<D>(adapters[0], std::move(h), t, c.first, k);
    for (std::size_t i = 1; i < N; ++i)
      h = step<upper<D>>(adapters[i], std::move(h), t, c.others[i - 1], k);
    if constexpr (Form.original_ln_after)
      return base.template join<of_outer<D>>(std::move(h), t, c.outer, k);
    else
      return h;
  }

  template <demand D, class G>
  auto split(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!of_outer<D>.any()) {
      return nothing{};
    } else {
      branches<tensor> d{std::move(dy), {}};
      if (Form.original_ln_after || dropped) {
        d = base.template split<of_outer<D>>(std::move(d.h), c.outer, part<D>(g, &gradient::base),
                                             k);
        if constexpr (!D.input)
          d.t = {};
      }
      if constexpr (D.input) {
        if (dropped)
          return d;
      } else {
        if (dropped)
          return nothing{};
      }
      for (std::size_t i = N - 1; i > 0; --i)
        d = step_back<upper<D>, D.input>(i, std::move(d), c.others[i - 1], g, k);
      return step_back<D, D.input>(0, std::move(d), c.first, g, k);
    }
  }

 private:
  template <demand D>
  tensor step(const Branch& adapter, tensor h, const tensor& t, step_cache<D>& c,
              const context<B>& k) const {
    auto in = entry::template enter<D>(base, h, t, c.inner, k);
    h = {};
    return adapter.template forward<entry::template of_adapter<D>>(in.x, c.adapter, k, &in.r);
  }

  template <demand D, bool WithResidual, class G>
  auto step_back(std::size_t i, branches<tensor> d, step_cache<D>& c, G* g,
                 const context<B>& k) const {
    tensor dr;
    constexpr bool wanted = entry::template residual_wanted<D>;
    auto dx = adapters[i].template backward<entry::template of_adapter<D>>(
        std::move(d.h), c.adapter, adapter_gradient<D>(g, i), k, wanted ? &dr : nullptr);
    return entry::template leave<D, WithResidual>(base, std::move(dx), std::move(dr),
                                                  std::move(d.t), c.inner,
                                                  part<D>(g, &gradient::base), k);
  }
  template <demand D, class G>
  static auto adapter_gradient([[maybe_unused]] G* g, [[maybe_unused]] std::size_t i) {
    if constexpr (D.trains() && !std::is_same_v<G, nothing>)
      return &g->adapters[i];
    else
      return static_cast<nothing*>(nullptr);
  }
};

}  // namespace graft
