// SPDX-License-Identifier: MIT
// Who stands at a site: the base layer, trained or frozen as the tuning says, wrapped by every rule
// that holds there, in order.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/recipe.hpp>

#include <cstdint>
#include <type_traits>
#include <utility>

namespace graft {

namespace detail {

template <class Where, class Tag>
inline constexpr bool contains = false;
template <class... Tags, class Tag>
inline constexpr bool contains<selection<Tags...>, Tag> = (std::is_same_v<Tags, Tag> || ...);

}  // namespace detail

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
  // … by a tag of its own rather than a family's?
  template <class Where, class Own>
  static constexpr bool named =
      detail::contains<Where, Own> || (detail::contains<Where, Around> || ...);
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
  else if constexpr (!has_join<Made> && !has_forward<Made, tensor_t<Made>>)
    return missing::forward;
  else if constexpr (!join_layer<Made> && !layer<Made>)
    return missing::backward;
  else if constexpr (sized_layer<Base> && !sized_layer<Made>)
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

// Puts one decoration around one layer. Diagnoses once, with the facts as its parameters, and goes on
// with the undecorated layer so that one mistake is one error.
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

// A rule bounded in depth never holds at a place without depth: naming that place is a mistake.
template <class Scope, site S, int R>
constexpr bool can_hold() {
  using T = typename Scope::tuning_type;
  return Scope::at.in_stack() || rule_at<T, R>.where.everywhere() ||
         !Scope::template named<typename rule_type<T, R>::where_type, S>;
}
template <class Tuning, int Rule, bool CanHold>
struct rule_with_depth {
  static_assert(CanHold,
                "graft: this rule has top(k) or bottom(k) and names a site outside the stack of layers "
                "(Rule is the rule's index in Tuning::rules)");
};

template <class Scope, site S, class L, int R = 0>
struct wrapped {
  using type = L;
  static L make(L base) { return base; }
};
template <class Scope, site S, class L, int R>
  requires(R < Scope::tuning_type::rules.size && !wraps<Scope, S, R>())
struct wrapped<Scope, S, L, R> : wrapped<Scope, S, L, R + 1> {
  static_assert(sizeof(rule_with_depth<typename Scope::tuning_type, R, can_hold<Scope, S, R>()>) > 0);
};
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

// Tables are the sites without biases.
template <class Tag, class Sites>
inline constexpr bool selects_any = false;
template <class Tag, class... S>
inline constexpr bool selects_any<Tag, selection<S...>> = (std::derived_from<S, Tag> || ...);
template <class Tag, class Sites>
inline constexpr bool selects_biases = false;
template <class Tag, class... S>
inline constexpr bool selects_biases<Tag, selection<S...>> =
    ((std::derived_from<S, Tag> && !std::derived_from<S, at::embedding_table_t>) || ...);

template <class Tuning, int Rule, class Tag, bool InModel, bool HasBiases>
struct rule_finds_a_site {
  static_assert(InModel,
                "graft: this rule names a site that the model does not have (see Tag; Rule is the "
                "rule's index in Tuning::rules)");
  static_assert(HasBiases,
                "graft: this rule trains biases where there are none (see Tag: embedding tables have "
                "no biases; Rule is the rule's index in Tuning::rules)");
};

template <class Tuning, int Rule, class Sites, class Where>
struct rule_finds_its_sites;
template <class Tuning, int Rule, class Sites, class... Tags>
struct rule_finds_its_sites<Tuning, Rule, Sites, selection<Tags...>> {
  static constexpr bool asks_biases() {
    if constexpr (std::is_same_v<typename rule_type<Tuning, Rule>::what_type, train>)
      return rule_at<Tuning, Rule>.what.what == params::biases;
    else
      return false;
  }
  template <class Tag, bool InModel = selects_any<Tag, Sites>>
  using check = rule_finds_a_site<Tuning, Rule, Tag, InModel,
                                  !InModel || !asks_biases() || selects_biases<Tag, Sites>>;
  static constexpr bool value = true;
  static_assert(((sizeof(check<Tags>) > 0) && ...));
};

}  // namespace detail

// Asserts that every tag of every rule of a tuning selects at least one of a model's sites.
template <tuning T, class Sites>
inline constexpr bool every_rule_finds_a_site = []<int... R>(std::integer_sequence<int, R...>) {
  return (detail::rule_finds_its_sites<T, R, Sites,
                                       typename detail::rule_type<T, R>::where_type>::value &&
          ... && true);
}(detail::rule_indices<T>);

// Gives every layer inside `root` what it can only learn from its place in the model: run-time numbers,
// its initial random values and the number under which it draws dropout masks, the last two from its
// path. Equal paths and seeds give equal values.
template <lists_parts L>
void prepare(L& root, std::uint64_t seed, const decoration_numbers& numbers = {}) {
  for_each_layer(root, [&](const std::string&, auto& part) {
    if constexpr (requires { part.renumber(numbers); })
      part.renumber(numbers);
  });
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
