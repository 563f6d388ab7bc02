// SPDX-License-Identifier: MIT
// Who stands at a site: the base layer, trained or frozen as the tuning says, wrapped by every rule
// that holds there, in order.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/recipe.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

// What a part of a model knows of where it stands: the tuning, its block's depth, and the tags of the
// places around it. A model's parts take one as their last template parameter.
template <tuning T, depth At = depth{}, site... Around>
struct scope {
  using tuning_type = T;
  static constexpr depth at = At;
  template <site S>
  using enter = scope<T, At, Around..., S>;
  template <depth D>
  using at_depth = scope<T, D, Around...>;

  // Is this place, or its part `Own`, in a selection?
  template <class Where, class Own>
  static constexpr bool selected =
      Where::template selects<Own> || (Where::template selects<Around> || ...);
};

namespace detail {

// What is trained of the base layer at a site: `train` rules reach it through any tag around it.
template <class Scope, site S>
constexpr params trained_at() {
  using T = typename Scope::tuning_type;
  params p = params::none;
  for_each_rule<T>([&](auto r) {
    using rule = rule_type<T, r()>;
    if constexpr (std::is_same_v<typename rule::what_type, train>)
      if constexpr (Scope::template selected<typename rule::where_type, S>)
        if (rule_at<T, r()>.where.holds(Scope::at) && rule_at<T, r()>.what.what > p)
          p = rule_at<T, r()>.what.what;
  });
  return p;
}

template <class L, params P>
struct base_at {
  using type = frozen<L>;
};
template <class L>
struct base_at<L, params::all> {
  using type = L;
};
template <has_biases L>
struct base_at<L, params::biases> {
  using type = biases_only<L>;
};

template <class L>
concept occupant_like = layer<L> || join_layer<L> || detail::has_gradient<L>;

// Does a decoration fit a layer at a site? By its `fits` where it has one, else by whether it applies.
template <class What, auto Spec, class Site, class Layer>
constexpr bool fits() {
  if constexpr (requires { What::template fits<Layer, Site, Spec>; })
    return What::template fits<Layer, Site, Spec>;
  else
    return requires { typename What::template apply<Layer, Spec>; };
}

// Puts one decoration around one layer. Diagnoses once, with the facts as its parameters, and goes on
// with the undecorated layer so that one mistake is one error.
template <class What, auto Spec, class Site, class Layer, bool Fits = fits<What, Spec, Site, Layer>()>
struct place_at {
  static_assert(Fits,
                "graft: this decoration does not fit the layer at this site (What, Site and Layer "
                "above; lora wants an affine layer that no bottleneck is wrapped around, skip wants "
                "at::layer, a join takes placement::after)");
  using type = Layer;
};
template <class What, auto Spec, class Site, class Layer>
struct place_at<What, Spec, Site, Layer, true> {
  using made = typename What::template apply<Layer, Spec>;
  static constexpr bool whole = layer<made> || join_layer<made>;
  static_assert(whole,
                "graft: the decorated type is not a graft::layer; a layer has backend_type, gradient, "
                "cache<D>, parts, forward<D> and backward<D> (core/layer.hpp)");
  using type = std::conditional_t<whole, made, Layer>;
};

// Does rule R wrap the occupant of site S?
template <class Scope, site S, int R>
constexpr bool wraps() {
  using T = typename Scope::tuning_type;
  using rule = rule_type<T, R>;
  if constexpr (std::is_same_v<typename rule::what_type, train>)
    return false;
  else
    return rule::where_type::template selects<S> && rule_at<T, R>.where.holds(Scope::at);
}

template <class Scope, site S, class L, int R = 0>
struct wrapped {
  using type = L;
  static L make(L base) { return base; }
};
template <class Scope, site S, class L, int R>
  requires(R < Scope::tuning_type::rules.size && !wraps<Scope, S, R>())
struct wrapped<Scope, S, L, R> : wrapped<Scope, S, L, R + 1> {};
template <class Scope, site S, class L, int R>
  requires(R < Scope::tuning_type::rules.size && wraps<Scope, S, R>())
struct wrapped<Scope, S, L, R> {
  static constexpr auto what = rule_at<typename Scope::tuning_type, R>.what;
  using around = typename place_at<std::remove_const_t<decltype(what)>, what, S, L>::type;
  using next = wrapped<Scope, S, around, R + 1>;
  using type = typename next::type;
  static type make(L base) {
    if constexpr (std::is_same_v<around, L>)
      return next::make(std::move(base));
    else
      return next::make(around(std::move(base), what));
  }
};

}  // namespace detail

// The occupant of a site whose base L has parameters of its own (a leaf).
template <class Scope, site S, class L>
using leaf = typename detail::wrapped<
    Scope, S, typename detail::base_at<L, detail::trained_at<Scope, S>()>::type>::type;

// The occupant of a site whose base consists of sites (a composite, a join).
template <class Scope, site S, class L>
using node = typename detail::wrapped<Scope, S, L>::type;

template <class Scope, site S, class L>
leaf<Scope, S, L> make_leaf(L base) {
  using at = typename detail::base_at<L, detail::trained_at<Scope, S>()>::type;
  return detail::wrapped<Scope, S, at>::make(at(std::move(base)));
}

template <class Scope, site S, class L>
node<Scope, S, L> make_node(L base) {
  return detail::wrapped<Scope, S, L>::make(std::move(base));
}

namespace detail {

template <class Where, class Sites>
inline constexpr bool finds = false;
template <class Where, class... S>
inline constexpr bool finds<Where, selection<S...>> = (Where::template selects<S> || ...);

template <class Tuning, int Rule, class Sites>
struct rule_finds_a_site {
  static_assert(finds<typename rule_type<Tuning, Rule>::where_type, Sites>,
                "graft: this rule selects no site of the model (Rule is its index in Tuning::rules)");
  static constexpr bool value = true;
};

}  // namespace detail

// Asserts that every rule of a tuning selects at least one of a model's sites.
template <tuning T, class Sites>
inline constexpr bool every_rule_finds_a_site = []<int... R>(std::integer_sequence<int, R...>) {
  return (detail::rule_finds_a_site<T, R, Sites>::value && ... && true);
}(detail::rule_indices<T>);

// Gives every layer inside `root` what it can only learn from its place in the model: its initial
// random values and the number under which it draws dropout masks, both from its path.
template <lists_parts L>
void prepare(L& root, std::uint64_t seed) {
  for_each_layer(root, [&](const std::string& path, auto& part) {
    if constexpr (requires(random_stream r) { part.initialize(r); }) {
      random_stream random(seed, hash_of(path));
      part.initialize(random);
    }
    if constexpr (requires { part.placed(std::uint32_t{}); })
      part.placed(static_cast<std::uint32_t>(mix(hash_of(path))));
  });
}

}  // namespace graft
