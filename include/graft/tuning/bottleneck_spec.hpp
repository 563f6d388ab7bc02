// SPDX-License-Identifier: MIT
// The decoration `bottleneck`: what a recipe says of an adapter.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>

#include <concepts>
#include <string_view>

namespace graft {

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

}  // namespace graft
