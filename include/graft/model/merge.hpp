// SPDX-License-Identifier: MIT
// A model with its decorations in its weights, and back.
#pragma once

#include <graft/model/regraft.hpp>
#include <graft/tuning/recipe.hpp>

#include <type_traits>
#include <utility>

namespace graft {

namespace detail {

// Is a decoration at a site one matrix with what it decorates? It says so itself:
//   template <class Site, auto Spec> static constexpr bool merges = …;
// one that does not is none. What is trained itself has nothing to put anywhere.
template <class What, auto Spec, class Site>
constexpr bool merges() {
  if constexpr (std::is_same_v<What, train>)
    return true;
  else if constexpr (requires { What::template merges<Site, Spec>; })
    return What::template merges<Site, Spec>;
  else
    return false;
}

template <class Decoration, class Site, class Tuning, int Rule, bool Merges>
struct rule_merges {
  static_assert(Merges,
                "graft: merge: this decoration is no part of one matrix with what it decorates "
                "(see Decoration and Site; Rule is the rule's index in Tuning::rules)");
};

template <class Tuning, int Rule, class Where>
struct rule_merges_at;
template <class Tuning, int Rule, class... Sites>
struct rule_merges_at<Tuning, Rule, selection<Sites...>> {
  using what = typename rule_type<Tuning, Rule>::what_type;
  static constexpr bool value =
      ((sizeof(rule_merges<what, Sites, Tuning, Rule,
                           merges<what, rule_at<Tuning, Rule>.what, Sites>()>) > 0) &&
       ...);
};

template <tuning T>
inline constexpr bool every_rule_merges = []<int... R>(std::integer_sequence<int, R...>) {
  return (rule_merges_at<T, R, typename rule_type<T, R>::where_type>::value && ... && true);
}(rule_indices<T>);

}  // namespace detail

// The model with its decorations in its weights, none left: what save_pretrained takes. All rules
// must be such that merge: LoRA without a gate, DoRA, VeRA, AdaLoRA, IA³ on a linear layer,
// quantize, recompute, train; another is an error of the compiler's. Weights are merged in the
// backend's numbers, whatever those of the file they come from. Throws graft::error for what shows
// only then: a convolution of groups, the table that a masked language model's output reads.
template <class Model>
auto merge(Model model) {
  static_assert(detail::every_rule_merges<typename Model::tuning_type>);
  return regraft<untuned>(std::move(model), {.merge = true});
}

// The same model twice: merged, and as it was. They share all weights but those that merging made.
template <class Model>
struct merged {
  using plain_type = decltype(merge(std::declval<Model>()));

  plain_type plain;
  Model tuned;
};

template <class Model>
merged<Model> merge_keeping(Model model) {
  auto plain = merge(model.clone());
  return {std::move(plain), std::move(model)};
}

// The model as it was before merge_keeping, base and decorations to the last bit: it was kept, not
// computed back.
template <class Model>
Model unmerge(merged<Model> both) {
  return std::move(both.tuned);
}

}  // namespace graft
