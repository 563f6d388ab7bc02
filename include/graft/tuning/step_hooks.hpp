// SPDX-License-Identifier: MIT
// What a method does in a training step beside forward and backward.
//
// A decorated layer may add a term to the loss (penalize, core/layer_hooks.hpp).
// A decoration may look at the whole network once a step is taken:
//   template <class Network, class Gradient>
//   static void after_step(Network&, const Gradient&, const training_step&)
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/reading.hpp>
#include <graft/core/view.hpp>
#include <graft/tuning/recipe.hpp>

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <type_traits>

namespace graft {

// The step just taken: its number from 1, how many there will be, and what its gradient was
// multiplied with before the optimizer saw it.
struct training_step {
  std::int64_t number = 1;
  std::int64_t steps = 1;
  reading gradient_scale = 1;
};

// Adds the penalties of all layers of a network to its gradient; returns their sum.
template <class B>
double add_penalties(const part_list<B>& parts) {
  std::map<std::string_view, index_t> alike;
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->penalize && l.gradient)
      ++alike[l.may->method];
  double sum = 0;
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->penalize && l.gradient)
      sum += l.may->penalize(l.layer, l.gradient, alike[l.may->method]);
  return sum;
}

template <lists_parts Network>
double add_penalties(Network& network, gradient_t<Network>& gradient) {
  return add_penalties(list_parts(network, gradient));
}

namespace detail {

template <class What, class Network, class Gradient>
concept follows_steps = requires(Network& n, const Gradient& g, const training_step& s) {
  What::after_step(n, g, s);
};

// Is rule R the first of its decoration?
template <tuning T, int R>
constexpr bool first_of_its_kind() {
  bool first = true;
  for_each_rule<T>([&](auto r) {
    if (r() < R &&
        std::is_same_v<typename rule_type<T, r()>::what_type, typename rule_type<T, R>::what_type>)
      first = false;
  });
  return first;
}

}  // namespace detail

// Tells every decoration of a tuning that a step was taken, each once however many rules hold it.
template <tuning T, class Network, class Gradient>
void after_step(Network& network, const Gradient& gradient, const training_step& step) {
  detail::for_each_rule<T>([&](auto r) {
    using what = typename detail::rule_type<T, r()>::what_type;
    if constexpr (detail::follows_steps<what, Network, Gradient> &&
                  detail::first_of_its_kind<T, r()>())
      what::after_step(network, gradient, step);
  });
}

}  // namespace graft
