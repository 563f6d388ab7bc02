// SPDX-License-Identifier: MIT
// IA3: a layer's output or input scaled by a learned vector.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/random.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/times_row.hpp>

#include <concepts>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct ia3_scale_t {
  static constexpr std::string_view name = "ia3.scale";
  static constexpr bool decays = true;
};
inline constexpr ia3_scale_t ia3_scale{};
}  // namespace at

// What the vector l scales, L being the layer it is grafted on:
//   output  y = L(x) ∘ l    L's bias included
//   input   y = L(x ∘ l)
enum class ia3_place : unsigned char { output, input };

template <sized_layer L, ia3_place Where>
struct ia3_layer;

// | option | meaning                | default |
// | place  | what the vector scales | output  |
struct ia3 {
  ia3_place place = ia3_place::output;

  static constexpr std::string_view name = "ia3";

  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("place", place == ia3_place::output ? std::string_view("output") : std::string_view("input"));
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = sized_layer<L>;
  // A sub-layer is no one matrix.
  template <class Site, auto Spec>
  static constexpr bool merges =
      std::derived_from<Site, at::linear_t> || std::same_as<Site, at::pooler_t> ||
      std::same_as<Site, at::head_dense_t> || std::same_as<Site, at::classifier_t>;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool join = join_layer<L>;
    static constexpr bool other = !join;
    static_assert(!join,
                  "graft: ia3 needs a layer with one input, and this site is a join (put it at the "
                  "sub-layer before the join)");
    static_assert(!other,
                  "graft: ia3 needs a layer over rows of known sizes, and none stands at this site "
                  "(embedding tables take ids)");
  };
  template <sized_layer L, auto Spec>
  using apply = ia3_layer<L, Spec.place>;
};

// y = L(x) ∘ l or L(x ∘ l); see `ia3_place`.  l [1, out] or [1, in].
//
// l starts at one, so a fresh layer computes exactly L. Keeps L(x) or x when asked for the gradient
// of l, nothing of its own otherwise. Liu et al. 2022, arXiv:2205.05638.
template <sized_layer L, ia3_place Where>
struct ia3_layer : detail::affine_as<L> {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  static constexpr bool before = Where == ia3_place::input;

  L base;
  parameter scale;

  ia3_layer() = default;
  ia3_layer(L layer, const ia3&)
      : base(std::move(layer)), scale(1, before ? base.in() : base.out()) {
    B::fill(scale, 1);
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::ia3_scale, z.scale...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = ia3_layer<on_backend_t<L, To>, Where>;

  struct gradient {
    gradient_t<L> base;
    parameter scale;
  };

  template <demand D>
  static constexpr bool trains = D.params == params::all;
  template <demand D>
  static constexpr demand of_base = before ? D.after(trains<D>) : D;

  template <demand D>
  struct cache {
    cache_t<L, of_base<D>> base;
  };
  template <demand D>
    requires(trains<D>)
  struct cache<D> {
    cache_t<L, of_base<D>> base;
    tensor scaled;  // what the vector scales
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    if constexpr (before) {
      if constexpr (trains<D>)
        c.scaled = x;
      return base.template forward<of_base<D>>(times_row<B>(x, scale, k), c.base, k);
    } else {
      tensor h = base.template forward<of_base<D>>(x, c.base, k);
      if constexpr (trains<D>) {
        c.scaled = std::move(h);
        return times_row<B>(c.scaled, scale, k);
      } else {
        return times_row<B>(std::move(h), scale, k);
      }
    }
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    const auto base_gradient = part<D>(g, &gradient::base);
    if constexpr (before) {
      if constexpr (of_base<D>.input) {
        tensor du = base.template backward<of_base<D>>(std::move(dy), c.base, base_gradient, k);
        if constexpr (trains<D>)
          B::dot_columns(g->scale, du, c.scaled);
        if constexpr (D.input)
          return times_row<B>(std::move(du), scale, k);
      } else if constexpr (reached<L>(D)) {
        base.template backward<of_base<D>>(std::move(dy), c.base, base_gradient, k);
      }
    } else {
      if constexpr (trains<D>)
        B::dot_columns(g->scale, dy, c.scaled);
      if constexpr (reached<L>(D))
        return base.template backward<D>(times_row<B>(std::move(dy), scale, k), c.base,
                                         base_gradient, k);
    }
    if constexpr (!D.input)
      return nothing{};
  }

  static constexpr std::string_view method = ia3::name;
  decoration_numbers numbers() const { return {}; }
  void renumber(const decoration_numbers&) {}

  void initialize(random_stream&) { B::fill(scale, 1); }

  // diag(l) W, l ∘ b, or W diag(l), b.
  dense_form<B> as_dense() const
    requires(dense_layer<L> && has_dense_form<L>)
  {
    dense_form<B> d = dense_form_of(base);
    if constexpr (before) {
      B::multiply_row(d.weight, d.weight, scale, false);
    } else {
      B::multiply_column(d.weight, d.weight, typename B::const_view(scale.data, out(), 1), false);
      if (d.bias.rows > 0)
        B::multiply_row(d.bias, d.bias, scale, false);
    }
    return d;
  }
};

}  // namespace graft
