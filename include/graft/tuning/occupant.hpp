// SPDX-License-Identifier: MIT
// Who stands at a site: the base layer, trained or frozen as the tuning says, wrapped by every rule
// that holds there, in order.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/common_weights.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/misfit.hpp>
#include <graft/tuning/recipe.hpp>

#include <concepts>
#include <cstdint>
#include <set>
#include <string>
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
                "graft: this rule has a range of layers and names a site outside the stack of layers "
                "(Rule is the rule's index in Tuning::rules)");
};

// The rule before R that puts the same decoration around site S, or none (-1).
template <class Scope, site S, int R>
constexpr int same_before() {
  using T = typename Scope::tuning_type;
  int found = -1;
  for_each_rule<T>([&](auto r) {
    using what = typename rule_type<T, r()>::what_type;
    if constexpr (r() < R && std::is_same_v<what, typename rule_type<T, R>::what_type>)
      if constexpr (wraps<Scope, S, r()>())
        found = r();
  });
  return found;
}
template <class Tuning, int First, int Second, class Site>
struct rules_differ {
  static_assert(First < 0,
                "graft: two rules put the same decoration around one site, where its parameters would "
                "have the same names (First and Second are the rules' indices in Tuning::rules)");
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
  static_assert(sizeof(rules_differ<typename Scope::tuning_type, same_before<Scope, S, R>(), R, S>) >
                0);
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

// A site where nothing can be trained, in a model's list of its sites.
template <site S>
struct nothing_to_train : S {};

namespace detail {

template <class S>
inline constexpr bool trains_nothing_at = false;
template <class S>
inline constexpr bool trains_nothing_at<nothing_to_train<S>> = true;

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
template <class Tag, class Sites>
inline constexpr bool selects_parameters = false;
template <class Tag, class... S>
inline constexpr bool selects_parameters<Tag, selection<S...>> =
    ((std::derived_from<S, Tag> && !trains_nothing_at<S>) || ...);

template <class Tuning, int Rule, class Tag, bool InModel, bool HasParameters, bool HasBiases>
struct rule_finds_a_site {
  static_assert(InModel,
                "graft: this rule names a site that the model does not have (see Tag; Rule is the "
                "rule's index in Tuning::rules)");
  static_assert(HasParameters,
                "graft: this rule trains where there are no parameters (see Tag: at::memory has none, "
                "nor have the joins of pre-LN layers, whose norms are at::attention_norm and "
                "at::feed_forward_norm; Rule is the rule's index in Tuning::rules)");
  static_assert(HasBiases,
                "graft: this rule trains biases where there are none (see Tag: embedding tables have "
                "no biases; Rule is the rule's index in Tuning::rules)");
};

template <class Tuning, int Rule, class Sites, class Where>
struct rule_finds_its_sites;
template <class Tuning, int Rule, class Sites, class... Tags>
struct rule_finds_its_sites<Tuning, Rule, Sites, selection<Tags...>> {
  static constexpr bool trains = std::is_same_v<typename rule_type<Tuning, Rule>::what_type, train>;
  static constexpr bool asks_biases() {
    if constexpr (trains)
      return rule_at<Tuning, Rule>.what.what == params::biases;
    else
      return false;
  }
  template <class Tag, bool InModel = selects_any<Tag, Sites>>
  using check =
      rule_finds_a_site<Tuning, Rule, Tag, InModel,
                        !InModel || !trains || selects_parameters<Tag, Sites>,
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

// Where the values of what is not grafted come from.
enum class base_values : unsigned char { fresh, from_checkpoint };

namespace detail {

// Throws input_error for a number that no decoration has.
template <class B>
void renumber(const part_list<B>& parts, const decoration_numbers& numbers) {
  std::set<std::string> known;
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->renumber) {
      l.may->renumber(l.layer, numbers);
      for (const auto& number : l.may->numbers(l.layer))
        known.insert(number.first);
    }
  for (const auto& number : numbers)
    if (!known.contains(number.first)) {
      std::string names;
      for (const std::string& name : known)
        names += (names.empty() ? "" : ", ") + name;
      throw input_error("numbers: no decoration of this tuning has a number \"" + number.first +
                        "\"; there are " + (names.empty() ? "none" : names));
    }
}

template <class B>
void base_filled(const part_list<B>& parts) {
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->base_filled)
      l.may->base_filled(l.layer);
}

template <class B>
void start_from_base(const part_list<B>& parts) {
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->start_from_base)
      l.may->start_from_base(l.layer);
}

template <class B>
void initialize_decorations(const part_list<B>& parts, std::uint64_t seed) {
  share_weights(parts);
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->initialize) {
      random_stream random(seed, hash_of(l.path));
      l.may->initialize(l.layer, random);
    }
}

}  // namespace detail

// Tells decorations that the base has its values, wherever they come from: quantize then makes its
// own of them.
template <lists_parts L>
void base_filled(L& root) {
  detail::base_filled(list_parts(root));
}

// Lets decorations take initial values from those of the base (DoRA's magnitudes, PiSSA's factors),
// once base_filled was called.
template <lists_parts L>
void start_from_base(L& root) {
  detail::start_from_base(list_parts(root));
}

// Gives every decoration inside `root` its initial values, which follow from its path, its sizes and the
// seed: those that are never trained are in no file and come back in this way.
template <lists_parts L>
void initialize_decorations(L& root, std::uint64_t seed) {
  detail::initialize_decorations(list_parts(root), seed);
}

// Gives every layer inside `root` what it can only learn from its place in the model: run-time numbers,
// initial values and the number under which it draws dropout masks, the last two from its path. Equal
// paths and seeds give equal values. Layers of the base (which have initialize_base) are left alone when
// a checkpoint is to fill them (base_filled and start_from_base are called after that); decorations
// (which have initialize) never are.
template <lists_parts L>
void prepare(L& root, std::uint64_t seed, const decoration_numbers& numbers = {},
             base_values base = base_values::fresh) {
  const auto parts = list_parts(root);
  detail::renumber(parts, numbers);
  for (const auto& l : parts.layers)
    if (l.may->initialize_base && base == base_values::fresh) {
      random_stream random(seed, hash_of(l.path));
      l.may->initialize_base(l.layer, random);
    }
  detail::initialize_decorations(parts, seed);
  for (const auto& l : parts.layers)
    if (l.may->placed)
      l.may->placed(l.layer, static_cast<std::uint32_t>(mix(hash_of(l.path))));
  if (base == base_values::fresh) {
    detail::base_filled(parts);
    detail::start_from_base(parts);
  }
}

}  // namespace graft
