// SPDX-License-Identifier: MIT
// Recipes: which decoration goes to which sites, at which depth.
//
//   struct sentiment {
//     static constexpr recipe rules{on(at::query | at::value, lora{.rank = 8}),
//                                   on(at::feed_forward, bottleneck{.width = 48}, top(4)),
//                                   on(at::head, train{})};
//   };
//
// What no rule names stays frozen. A tuning is a named struct in a header; its rules are values, read
// at compile time.
#pragma once

#include <graft/core/demand.hpp>
#include <graft/core/site.hpp>

#include <concepts>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace graft {

// The place itself is trained: every leaf at or below a selected site; `train{biases}` trains its
// biases only. Everything:       on(at::everything, train{})
//             the top two layers: on(at::layer, train{}, top(2))
//             BitFit:             on(at::everything, train{biases})
struct train {
  enum params what = params::all;
  static constexpr std::string_view name = "train";

  constexpr void check() const {
    if (what == params::none)
      throw "graft: train.what must be params::all or params::biases";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("what", what == params::biases ? std::string_view("biases") : std::string_view("all"));
  }
};

inline constexpr int unbounded = 1 << 20;

// Where a block stands: its distance from either end of the stack, or `unbounded` when no rule of the
// tuning reaches that far from that end. What stands outside the stack has no depth.
struct depth {
  int from_bottom = -1;
  int from_top = -1;
  constexpr bool in_stack() const { return from_bottom >= 0; }
  friend constexpr bool operator==(depth, depth) = default;
};

// The blocks a rule holds for: the k lowest, the k highest, all but those, some between, or all.
struct depth_range {
  int bottom = unbounded;
  int top = unbounded;
  int first = 0;  // counted from the bottom
  int below = 0;  // and so many at the top are left out
  constexpr bool everywhere() const {
    return bottom == unbounded && top == unbounded && first == 0 && below == 0;
  }
  constexpr bool holds(depth d) const {
    if (everywhere())
      return true;
    return d.in_stack() && d.from_bottom >= first && d.from_bottom < bottom && d.from_top < top &&
           d.from_top >= below;
  }
};

consteval depth_range top(int k) {
  if (k < 1)
    throw "graft: top(k): k must be at least 1";
  return {unbounded, k};
}
consteval depth_range bottom(int k) {
  if (k < 1)
    throw "graft: bottom(k): k must be at least 1";
  return {k, unbounded};
}
// All blocks but the k lowest.
consteval depth_range above(int k) {
  if (k < 1)
    throw "graft: above(k): k must be at least 1";
  return {unbounded, unbounded, k};
}
// All blocks but the k highest.
consteval depth_range below(int k) {
  if (k < 1)
    throw "graft: below(k): k must be at least 1";
  return {unbounded, unbounded, 0, k};
}
// Blocks first, first + 1, … last - 1, counted from 0 at the bottom.
consteval depth_range between(int first, int last) {
  if (first < 0 || last <= first)
    throw "graft: between(first, last): first must be at least 0, and last beyond it";
  return {last, unbounded, first};
}

template <class Where, class What>
struct rule {
  using where_type = Where;
  using what_type = What;
  What what;
  depth_range where;
};

namespace detail {

template <class What>
consteval void check(const What& what) {
  if constexpr (requires { what.check(); })
    what.check();
}

template <int>
struct readable;

template <class Where>
struct selection_of {
  using type = selection<Where>;
};
template <class... Sites>
struct selection_of<selection<Sites...>> {
  using type = selection<Sites...>;
};

template <class Where>
inline constexpr bool is_selection = false;
template <class... Sites>
inline constexpr bool is_selection<selection<Sites...>> = true;

}  // namespace detail

// A site or several.
template <class Where>
concept sites = site<Where> || detail::is_selection<Where>;

// What a rule may hold: an aggregate of options.
template <class What>
concept decoration = std::is_class_v<What>;

// A rule: `what` at the selected sites, in the given range of the stack.
template <sites Where, decoration What>
consteval auto on(Where, What what, depth_range where = {}) {
  detail::check(what);
  return rule<typename detail::selection_of<Where>::type, What>{what, where};
}

// The rules of a tuning, in order. Where several wrap the same site, later ones wrap around earlier.
template <class... Rules>
struct recipe {
  static constexpr int size = sizeof...(Rules);
  std::tuple<Rules...> rules;
  constexpr recipe(Rules... r) : rules(r...) {}
};

// A type with `static constexpr recipe rules`, all of whose values are good.
template <class T>
concept tuning = requires { typename detail::readable<(recipe(T::rules), T::rules.size)>; };

// Nothing is tuned: all frozen.
struct untuned {
  static constexpr recipe<> rules{};
};

namespace detail {

template <tuning T>
inline constexpr auto rule_indices = std::make_integer_sequence<int, T::rules.size>{};

template <tuning T, int R>
inline constexpr auto rule_at = std::get<R>(T::rules.rules);
template <tuning T, int R>
using rule_type = std::remove_const_t<decltype(rule_at<T, R>)>;

// f(std::integral_constant<int, R>) for each rule.
template <tuning T, class F>
constexpr void for_each_rule(F&& f) {
  [&]<int... R>(std::integer_sequence<int, R...>) {
    (f(std::integral_constant<int, R>{}), ...);
  }(rule_indices<T>);
}

}  // namespace detail

}  // namespace graft
