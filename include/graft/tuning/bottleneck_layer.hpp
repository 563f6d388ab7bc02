// SPDX-License-Identifier: MIT
// A layer with an adapter after, before or beside it.
#pragma once

#include <graft/core/first_rows.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/adapter_branch.hpp>

#include <utility>

namespace graft {

// A layer with a bottleneck after, before or beside it; see `placement` for the formulas. After and
// before, the adapter has what it reads as its residual.
//
// Keeps what the adapter keeps. No longer affine: nothing that wants an affine layer nests around
// it. While `dropped` it is its base. Parallel: He et al. 2022, arXiv:2110.04366.
template <layer L, placement Where, class Branch>
struct bottleneck_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using branch = Branch;
  using spec = typename Branch::spec;

  L base;
  branch adapter;
  bool dropped = false;

  bottleneck_layer() = default;
  bottleneck_layer(L layer, const spec& s) : base(std::move(layer)) {
    const index_t from = behind ? base.out() : base.in();
    const index_t to = Where == placement::before ? base.in() : base.out();
    adapter = branch(from, to, s);
  }
  bottleneck_layer(L layer, const spec& s, random_stream& random)
      : bottleneck_layer(std::move(layer), s) {
    adapter.initialize(random);
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::adapter, z.adapter...);
  }
  template <backend To>
    requires(movable_to<L, To> && movable_to<branch, To>)
  using on_backend = bottleneck_layer<on_backend_t<L, To>, Where, on_backend_t<branch, To>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.dropped...);
  }

  struct gradient {
    gradient_t<L> base;
    gradient_t<branch> adapter;
  };

  static constexpr bool behind = Where == placement::after || Where == placement::skip;

  // What each of the two is asked for: the one that stands behind the other hands a gradient on
  // when the other is reached.
  template <demand D>
  static constexpr demand of_branch = behind ? D.after(reached<L>(D)) : D;
  template <demand D>
  static constexpr demand of_base = Where == placement::before ? D.after(D.trains()) : D;

  template <demand D>
  struct cache {
    cache_t<L, of_base<D>> base;
    cache_t<branch, of_branch<D>> adapter;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    if (dropped)
      return base.template forward<of_base<D>>(x, c.base, k);
    if constexpr (Where == placement::before) {
      tensor u = adapter.template forward<of_branch<D>>(x, c.adapter, k, &x);
      return base.template forward<of_base<D>>(u, c.base, k);
    } else if constexpr (behind) {
      tensor h = base.template forward<of_base<D>>(x, c.base, k);
      return adapter.template forward<of_branch<D>>(h, c.adapter, k, &h);
    } else {
      tensor h = base.template forward<of_base<D>>(x, c.base, k);
      tensor y = adapter.template forward<of_branch<D>>(x, c.adapter, k);
      B::add(y, h);
      return y;
    }
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.input) {
      if (dropped)
        return to_base<D>(std::move(dy), c, g, k);
      return to_both<D>(std::move(dy), c, g, k);
    } else {
      if (!dropped)
        to_both<D>(std::move(dy), c, g, k);
      else if constexpr (reached<L>(of_base<D>))
        to_base<D>(std::move(dy), c, g, k);
      return nothing{};
    }
  }

  // Behind a layer that gives them (core/first_rows.hpp), for branches that make each row of that row
  // alone.
  template <demand D>
    requires(behind && gives_first_rows<L>)
  tensor forward_first(const tensor& x, cache<D>& c, const context<B>& k,
                       const context<B>& first) const {
    tensor h = base.template forward_first<of_base<D>>(x, c.base, k, first);
    if (dropped)
      return h;
    return adapter.template forward<of_branch<D>>(h, c.adapter, first, &h);
  }
  template <demand D, class G>
  auto backward_first(tensor dy, cache<D>& c, G* g, const context<B>& k,
                      const context<B>& first) const {
    if constexpr (reached<L>(D)) {
      if (!dropped)
        dy = through_branch<D>(std::move(dy), c, g, first);
      return base.template backward_first<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k,
                                             first);
    } else {
      if (!dropped)
        through_branch<D>(std::move(dy), c, g, first);
      return nothing{};
    }
  }

 private:
  template <demand D, class G>
  auto to_base(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    return base.template backward<of_base<D>>(std::move(dy), c.base, part<D>(g, &gradient::base),
                                              k);
  }

  // The gradient of what a branch behind the base reads, the base's output, or nothing.
  template <demand D, class G>
  auto through_branch(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    tensor dr;
    constexpr bool wanted = of_branch<D>.input;
    auto da = adapter.template backward<of_branch<D>>(std::move(dy), c.adapter,
                                                      part<D>(g, &gradient::adapter), k,
                                                      wanted ? &dr : nullptr);
    if constexpr (wanted) {
      da = k.own(std::move(da));
      B::add(da, dr);
      return da;
    } else {
      return nothing{};
    }
  }

  template <demand D, class G>
  auto to_both(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    const auto branch_gradient = part<D>(g, &gradient::adapter);
    if constexpr (behind) {
      auto da = through_branch<D>(std::move(dy), c, g, k);
      if constexpr (of_branch<D>.input)
        return to_base<D>(std::move(da), c, g, k);
      else
        return nothing{};
    } else if constexpr (Where == placement::parallel) {
      auto da = adapter.template backward<of_branch<D>>(dy, c.adapter, branch_gradient, k);
      if constexpr (D.input) {
        tensor dx = k.own(to_base<D>(std::move(dy), c, g, k));
        B::add(dx, da);
        return dx;
      } else {
        if constexpr (reached<L>(of_base<D>))
          to_base<D>(std::move(dy), c, g, k);
        return nothing{};
      }
    } else {
      if constexpr (of_base<D>.any()) {
        auto du = to_base<D>(std::move(dy), c, g, k);
        if constexpr (of_base<D>.input) {
          tensor dr;
          auto dx = adapter.template backward<of_branch<D>>(
              std::move(du), c.adapter, branch_gradient, k, D.input ? &dr : nullptr);
          if constexpr (D.input) {
            dx = k.own(std::move(dx));
            B::add(dx, dr);
            return dx;
          } else {
            return nothing{};
          }
        } else {
          return nothing{};
        }
      } else {
        return nothing{};
      }
    }
  }
};

}  // namespace graft
