// SPDX-License-Identifier: MIT
// Whether a decoration goes around a layer, and what the compiler says where it does not.
//
// A decoration says what it makes of a layer, and may say which layers it fits and why not others:
//
//   template <class Layer, auto Spec> using apply = …;                            the decorated layer
//   template <class Layer, class Site, auto Spec> static constexpr bool fits = …;
//   template <class Layer, class Site, auto Spec> struct misfit { static_assert(false…, "…"); };
//
// … and whether a row of what it makes depends on no other (tuning/row_by_row.hpp).
#pragma once

#include <graft/core/layer.hpp>

#include <type_traits>

namespace graft::detail {

// Does a decoration fit a layer at a site? By its `fits` where it has one, else by whether it applies.
template <class What, auto Spec, class Site, class Layer>
constexpr bool fits() {
  if constexpr (requires { What::template fits<Layer, Site, Spec>; })
    return What::template fits<Layer, Site, Spec>;
  else
    return requires { typename What::template apply<Layer, Spec>; };
}

// Fails to compile with the reason: the decoration's own where it has a `misfit`.
template <class What, auto Spec, class Site, class Layer>
struct misfit {
  static_assert(sizeof(Layer) == 0,
                "graft: this decoration does not fit the layer at this site (see What, Site and Layer)");
};
template <class What, auto Spec, class Site, class Layer>
  requires requires { typename What::template misfit<Layer, Site, Spec>; }
struct misfit<What, Spec, Site, Layer> : What::template misfit<Layer, Site, Spec> {};

template <class L>
concept has_sizes = requires(const L& l) { l.in(), l.out(); };

// Takes rows, rather than ids as a table does.
template <class L>
concept over_rows = has_join<L> || has_forward<L, tensor_t<L>>;

// The first thing that a decorated type lacks to stand where its base stands.
enum class missing { none, backend, gradient, cache, parts, forward, backward, sizes, constructor };

template <class What, class Base, class Made>
constexpr missing lacks() {
  if constexpr (!has_backend<Made>)
    return missing::backend;
  else if constexpr (!has_gradient<Made>)
    return missing::gradient;
  else if constexpr (!has_cache<Made>)
    return missing::cache;
  else if constexpr (!has_parts<Made>)
    return missing::parts;
  else if constexpr (over_rows<Base> && !has_join<Made> && !has_forward<Made, tensor_t<Made>>)
    return missing::forward;
  else if constexpr (!has_backward<Made> && !(has_join<Made> && has_split<Made>) &&
                     !memory_layer<Made>)
    return missing::backward;
  else if constexpr (has_sizes<Base> && !has_sizes<Made>)
    return missing::sizes;
  else if constexpr (!std::is_constructible_v<Made, Base, What>)
    return missing::constructor;
  else
    return missing::none;
}

template <class What, class Base, class Made>
struct decorated {
  static constexpr missing item = lacks<What, Base, Made>();
  static_assert(item != missing::backend, "graft: the decorated layer lacks backend_type");
  static_assert(item != missing::gradient,
                "graft: the decorated layer lacks the type gradient (graft::nothing where nothing of "
                "it is trained)");
  static_assert(item != missing::cache, "graft: the decorated layer lacks the template cache<demand>");
  static_assert(item != missing::parts, "graft: the decorated layer lacks static parts(f, z...)");
  static_assert(item != missing::forward,
                "graft: the decorated layer lacks forward<D>(x, cache, context) -> tensor (a join: "
                "join<D>(h, t, cache, context))");
  static_assert(item != missing::backward,
                "graft: the decorated layer lacks backward<D>(dy, cache, gradient*, context) (a join: "
                "split<D>(dy, cache, gradient*, context))");
  static_assert(item != missing::sizes,
                "graft: the decorated layer lacks in() and out(), which the layer inside it has");
  static_assert(item != missing::constructor,
                "graft: the decorated layer lacks the constructor (layer, decoration)");
};

// Puts one decoration around one layer. A mistake is told once, with the facts as the parameters, and
// what follows goes on with the undecorated layer: `type` comes first because clang reads no further
// than a failed static_assert.
template <class What, auto Spec, class Site, class Layer, bool Fits = fits<What, Spec, Site, Layer>()>
struct place_at {
  using type = Layer;
  static_assert(sizeof(misfit<What, Spec, Site, Layer>) > 0);
};
template <class What, auto Spec, class Site, class Layer>
struct place_at<What, Spec, Site, Layer, true> {
  using made = typename What::template apply<Layer, Spec>;
  using type = std::conditional_t<lacks<What, Layer, made>() == missing::none, made, Layer>;
  static_assert(sizeof(decorated<What, Layer, made>) > 0);
};

}  // namespace graft::detail
