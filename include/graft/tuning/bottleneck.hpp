// SPDX-License-Identifier: MIT
// Bottleneck adapters: a small two- or three-matrix network beside or behind a layer, or in a join.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/linear.hpp>

#include <cmath>
#include <concepts>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct adapter_t {
  static constexpr std::string_view name = "adapter";
};
struct adapter_down_t {
  static constexpr std::string_view name = "down";
};
struct adapter_middle_t {
  static constexpr std::string_view name = "middle";
};
struct adapter_up_t {
  static constexpr std::string_view name = "up";
};
inline constexpr adapter_t adapter{};
inline constexpr adapter_down_t adapter_down{};
inline constexpr adapter_middle_t adapter_middle{};
inline constexpr adapter_up_t adapter_up{};
}  // namespace at

// Where a bottleneck A stands, L being the layer it is grafted on:
//   after     y = L(x) + A(L(x))   serial, residual inside the adapter; at a join, see bottleneck_join
//   before    y = L(x + A(x))      serial
//   parallel  y = L(x) + A(x)
//   skip      H' = H + A(H)        around a whole Transformer layer, H its output; at::layer only
enum class placement : unsigned char { after, before, parallel, skip };

// identity: U starts at zero, so that a fresh adapter computes exactly the base; D as Kaiming-uniform.
// near_identity: all matrices normal with deviation 0.02 (AdapterHub's "bert").
enum class adapter_init : unsigned char { identity, near_identity };

template <layer L, placement Where>
struct bottleneck_layer;
template <join_layer J>
struct bottleneck_join;

// | option     | meaning                                              | default     |
// | width      | columns between the matrices                         | 64          |
// | place      | where the adapter stands                             | after       |
// | inner      | columns after a third matrix in the middle, 0: none  | 0           |
// | activation | σ                                                    | relu        |
// | scale      | s, multiplies the adapter's output                   | 1           |
// | dropout    | rate on the adapter's output while training          | 0           |
// | init       | identity or near_identity                            | identity    |
struct bottleneck {
  int width = 64;
  placement place = placement::after;
  int inner = 0;
  enum activation activation = activation::relu;
  float scale = 1;
  float dropout = 0;
  adapter_init init = adapter_init::identity;

  static constexpr std::string_view name = "bottleneck";

  constexpr void check() const {
    if (width < 1)
      throw "graft: bottleneck.width must be at least 1";
    if (inner < 0)
      throw "graft: bottleneck.inner must be 0 (two matrices) or more";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: bottleneck.dropout must be at least 0 and below 1";
  }
  static constexpr std::string_view name_of(placement p) {
    switch (p) {
      case placement::after: return "after";
      case placement::before: return "before";
      case placement::parallel: return "parallel";
      case placement::skip: return "skip";
    }
    return "?";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("width", width);
    f("place", name_of(place));
    f("inner", inner);
    f("activation", graft::name_of(activation));
    f("scale", scale);
    f("dropout", dropout);
  }

  // skip goes around whole Transformer layers only; a join has no before, parallel or skip.
  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (join_layer<L>)
      return Spec.place == placement::after;
    else if constexpr (requires(const L& l) { l.in(), l.out(); })
      return sized_layer<L> &&
             (Spec.place != placement::skip || std::derived_from<Site, at::layer_t>);
    else
      return false;
  }();
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool join = join_layer<L>;
    static constexpr bool skip = !join && Spec.place == placement::skip;
    static constexpr bool other = !join && !skip;
    static_assert(!join, "graft: a bottleneck in a join takes placement::after only");
    static_assert(!skip, "graft: a bottleneck with placement::skip goes around at::layer only");
    static_assert(!other,
                  "graft: a bottleneck needs a layer over rows of known sizes, and none stands at "
                  "this site (embedding tables take ids)");
  };
  template <class L, auto Spec>
  struct choose {
    using type = bottleneck_layer<L, Spec.place>;
  };
  template <join_layer L, auto Spec>
  struct choose<L, Spec> {
    using type = bottleneck_join<L>;
  };
  template <class L, auto Spec>
  using apply = typename choose<L, Spec>::type;
};

// The adapter itself:  A(x) = drop(s · (U σ(D x + b) + b'));  with three matrices
// A(x) = drop(s · (U σ(M σ(D x + b) + b'') + b')).  D [width, in], M [inner, width], U [out, last].
//
// Keeps x and the columns between the matrices when asked for its parameters' gradients, those before
// each σ when asked for its input's. Houlsby et al. 2019, arXiv:1902.00751.
template <class Backend>
struct adapter_branch {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  linear<B> down, middle, up;
  activation function = activation::relu;
  float scale = 1;
  adapter_init init = adapter_init::identity;
  graft::dropout<B> drop;

  adapter_branch() = default;
  adapter_branch(index in, index out, const bottleneck& spec)
      : function(spec.activation), scale(spec.scale), init(spec.init) {
    resize(in, out, spec.width, spec.inner);
    drop.rate = spec.dropout;
  }

  bool three() const { return middle.out() > 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::adapter_down, z.down...);
    f(at::adapter_middle, z.middle...);
    f(at::adapter_up, z.up...);
  }

  struct gradient {
    gradient_t<linear<B>> down, middle, up;
  };

  template <demand D>
  static constexpr demand inside{D.any(), D.params};  // the matrices behind the first are reached
  template <demand D>
  struct cache {
    cache_t<linear<B>, D> down, middle, up;
  };
  template <demand D>
    requires(D.any())
  struct cache<D> {
    cache_t<linear<B>, D> down;
    cache_t<linear<B>, inside<D>> middle, up;
    tensor z, m;  // before each σ
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor z = down.template forward<D>(x, c.down, k);
    tensor h = activated(z, k);
    if constexpr (D.any())
      c.z = std::move(z);
    if (three()) {
      tensor m = middle.template forward<inside<D>>(h, c.middle, k);
      h = activated(m, k);
      if constexpr (D.any())
        c.m = std::move(m);
    }
    tensor y = up.template forward<inside<D>>(h, c.up, k);
    if (scale != 1)
      B::scale(y, static_cast<typename B::scalar>(scale));
    return drop.apply(std::move(y), k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      dy = drop.apply(std::move(dy), k);
      if (scale != 1) {
        dy = k.own(std::move(dy));
        B::scale(dy, static_cast<typename B::scalar>(scale));
      }
      tensor dh = up.template backward<inside<D>>(std::move(dy), c.up, part<D>(g, &gradient::up), k);
      if (three()) {
        B::activate_backward(dh, dh, c.m, function);
        dh = middle.template backward<inside<D>>(std::move(dh), c.middle,
                                                 part<D>(g, &gradient::middle), k);
      }
      B::activate_backward(dh, dh, c.z, function);
      return down.template backward<D>(std::move(dh), c.down, part<D>(g, &gradient::down), k);
    }
  }

  static constexpr std::string_view method = bottleneck::name;
  decoration_numbers numbers() const {
    return {.width = static_cast<int>(down.out()),
            .inner = static_cast<int>(middle.out()),
            .scale = scale,
            .dropout = static_cast<float>(drop.rate)};
  }
  // Throws shape_error for a width below 1, input_error for a rate that is none.
  void renumber(const decoration_numbers& n) {
    if (n.width || n.inner) {
      const index width = n.width.value_or(static_cast<int>(down.out()));
      const index inner = n.inner.value_or(static_cast<int>(middle.out()));
      if (width < 1)
        throw shape_error("bottleneck.width: expected at least 1, found " + std::to_string(width));
      if (inner < 0)
        throw shape_error("bottleneck.inner: expected at least 0, found " + std::to_string(inner));
      resize(down.in(), up.out(), width, inner);
    }
    scale = n.scale.value_or(scale);
    if (n.dropout) {
      if (!(*n.dropout >= 0 && *n.dropout < 1))
        throw input_error("bottleneck.dropout: expected at least 0 and below 1, found " +
                          std::to_string(*n.dropout));
      drop.rate = *n.dropout;
    }
  }
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    const auto fill = [&](linear<B>& l) {
      if (init == adapter_init::near_identity)
        return l.initialize(random, 0.02);
      const double bound = 1 / std::sqrt(static_cast<double>(l.in()));
      for (index i = 0; i < l.weight.size(); ++i)
        l.weight.data[i] = static_cast<typename B::scalar>(random.uniform(-bound, bound));
    };
    fill(down);
    if (three())
      fill(middle);
    if (init == adapter_init::near_identity)
      return fill(up);
    for (index i = 0; i < up.weight.size(); ++i)
      up.weight.data[i] = 0;
  }

 private:
  void resize(index in, index out, index width, index inner) {
    down = linear<B>(in, width);
    middle = inner > 0 ? linear<B>(width, inner) : linear<B>(0, 0, false);
    up = linear<B>(inner > 0 ? inner : width, out);
  }
  tensor activated(const tensor& z, const context<B>& k) const {
    tensor h = k.make(z.rows, z.cols);
    B::activate(h, z, function);
    return h;
  }
};

// A layer with a bottleneck after, before or beside it; see `placement` for the formulas.
//
// Keeps what the adapter keeps. No longer affine: nothing that wants an affine layer nests around it.
// Parallel: He et al. 2022, arXiv:2110.04366.
template <layer L, placement Where>
struct bottleneck_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using branch = adapter_branch<B>;

  L base;
  branch adapter;

  bottleneck_layer() = default;
  bottleneck_layer(L layer, const bottleneck& spec) : base(std::move(layer)) {
    const index from = Where == placement::after || Where == placement::skip ? base.out() : base.in();
    const index to = Where == placement::before ? base.in() : base.out();
    adapter = branch(from, to, spec);
  }
  bottleneck_layer(L layer, const bottleneck& spec, random_stream& random)
      : bottleneck_layer(std::move(layer), spec) {
    adapter.initialize(random);
  }

  index in() const { return base.in(); }
  index out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::adapter, z.adapter...);
  }

  struct gradient {
    gradient_t<L> base;
    gradient_t<branch> adapter;
  };

  static constexpr bool behind = Where == placement::after || Where == placement::skip;

  // What each of the two is asked for: the one that stands behind the other hands a gradient on when
  // the other is reached.
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
    if constexpr (Where == placement::before) {
      tensor u = adapter.template forward<of_branch<D>>(x, c.adapter, k);
      B::add(u, x);
      return base.template forward<of_base<D>>(u, c.base, k);
    } else {
      tensor h = base.template forward<of_base<D>>(x, c.base, k);
      tensor y = adapter.template forward<of_branch<D>>(behind ? h : x, c.adapter, k);
      B::add(y, h);
      return y;
    }
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    const auto base_gradient = part<D>(g, &gradient::base);
    const auto branch_gradient = part<D>(g, &gradient::adapter);
    if constexpr (behind) {
      auto da = adapter.template backward<of_branch<D>>(dy, c.adapter, branch_gradient, k);
      if constexpr (of_branch<D>.input) {
        da = k.own(std::move(da));
        B::add(da, dy);
        return base.template backward<of_base<D>>(std::move(da), c.base, base_gradient, k);
      } else {
        return nothing{};
      }
    } else if constexpr (Where == placement::parallel) {
      auto da = adapter.template backward<of_branch<D>>(dy, c.adapter, branch_gradient, k);
      if constexpr (D.input) {
        tensor dx = k.own(
            base.template backward<of_base<D>>(std::move(dy), c.base, base_gradient, k));
        B::add(dx, da);
        return dx;
      } else {
        if constexpr (reached<L>(of_base<D>))
          base.template backward<of_base<D>>(std::move(dy), c.base, base_gradient, k);
        return nothing{};
      }
    } else {
      if constexpr (of_base<D>.any()) {
        auto du = base.template backward<of_base<D>>(std::move(dy), c.base, base_gradient, k);
        if constexpr (of_base<D>.input) {
          auto dx = adapter.template backward<of_branch<D>>(du, c.adapter, branch_gradient, k);
          if constexpr (D.input) {
            du = k.own(std::move(du));
            B::add(du, dx);
            return du;
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

  index in() const { return base.in(); }

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
