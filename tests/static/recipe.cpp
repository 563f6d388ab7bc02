// SPDX-License-Identifier: MIT
// Rules, ranges of depth, and the runs of equal layers that follow from them.
#include <graft/model/stack.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/recipe.hpp>

#include <type_traits>

using namespace graft;

// A layer of six, counted from below.
constexpr depth layer_of_six(int i) { return {i, 5 - i}; }
constexpr int layers_held(depth_range r) {
  int n = 0;
  for (int i = 0; i < 6; ++i)
    n += r.holds(layer_of_six(i));
  return n;
}
static_assert(top(2).holds(layer_of_six(5)) && top(2).holds(layer_of_six(4)));
static_assert(!top(2).holds(layer_of_six(3)) && layers_held(top(2)) == 2);
static_assert(bottom(1).holds(layer_of_six(0)) && layers_held(bottom(1)) == 1);
static_assert(layers_held(top(9)) == 6 && layers_held(bottom(9)) == 6);
static_assert(layers_held({}) == 6);
static_assert(!above(2).holds(layer_of_six(1)) && above(2).holds(layer_of_six(2)));
static_assert(layers_held(above(2)) == 4 && layers_held(above(9)) == 0);
static_assert(below(2).holds(layer_of_six(3)) && !below(2).holds(layer_of_six(4)));
static_assert(layers_held(below(2)) == 4 && layers_held(below(9)) == 0);
static_assert(!below(1).holds(depth{}) && !below(1).everywhere());
static_assert(between(1, 3).holds(layer_of_six(1)) && !between(1, 3).holds(layer_of_six(3)));
static_assert(layers_held(between(1, 3)) == 2 && layers_held(between(0, 6)) == 6);
static_assert(!above(1).holds(depth{}) && !above(1).everywhere() && !between(0, 1).everywhere());

// What stands outside the stack has no depth: only a rule without a range holds there.
static_assert(!depth{}.in_stack() && layer_of_six(0).in_stack());
static_assert(depth_range{}.holds(depth{}) && !top(6).holds(depth{}) && !bottom(6).holds(depth{}));
static_assert(depth_range{}.everywhere() && !top(1).everywhere() && !bottom(1).everywhere());

// A tuning is any type with constant rules.
struct no_rules {};
struct wrong_type {
  static constexpr int rules = 3;
};
struct not_constant {
  static recipe<rule<selection<at::query_t>, lora>> rules;
};
struct two_rules {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 4}),
                                on(at::feed_forward, bottleneck{.width = 8}, top(4))};
};
static_assert(tuning<untuned> && tuning<two_rules>);
static_assert(!tuning<no_rules> && !tuning<wrong_type> && !tuning<not_constant> && !tuning<int>);
static_assert(untuned::rules.size == 0 && two_rules::rules.size == 2);

// A rule remembers its sites, what goes there and where.
using first = detail::rule_type<two_rules, 0>;
static_assert(std::is_same_v<first::where_type, selection<at::query_t, at::value_t>>);
static_assert(std::is_same_v<first::what_type, lora>);
static_assert(detail::rule_at<two_rules, 0>.what.rank == 4);
static_assert(detail::rule_at<two_rules, 1>.where.top == 4);

// Without ranges all layers are equal, and one type serves them.
struct everywhere {
  static constexpr recipe rules{on(at::query, lora{}), on(at::everything, train{biases})};
};
static_assert(detail::run_count<untuned> == 1 && detail::run_count<everywhere> == 1);
static_assert(detail::run_length<everywhere>(0, 24) == 24);

// Equal bounds share a cut; runs go from the bottom, the middle takes what is left.
struct ranges {
  static constexpr recipe rules{on(at::query, lora{}, top(4)), on(at::value, lora{}, top(1)),
                                on(at::key, lora{}, top(4)), on(at::norm, train{}, bottom(2))};
};
static_assert(detail::run_count<ranges> == 4);
static_assert(detail::run_length<ranges>(0, 12) == 2 && detail::run_length<ranges>(1, 12) == 6);
static_assert(detail::run_length<ranges>(2, 12) == 3 && detail::run_length<ranges>(3, 12) == 1);
static_assert(detail::run_length<ranges>(1, 6) == 0);  // no middle

// The representative of a run is held by the rules that hold for its layers.
static_assert(bottom(2).holds(detail::run_depth<ranges>(0)));
static_assert(!top(4).holds(detail::run_depth<ranges>(0)));
static_assert(!bottom(2).holds(detail::run_depth<ranges>(1)));
static_assert(!top(4).holds(detail::run_depth<ranges>(1)));
static_assert(top(4).holds(detail::run_depth<ranges>(2)));
static_assert(!top(1).holds(detail::run_depth<ranges>(2)));
static_assert(top(1).holds(detail::run_depth<ranges>(3)));

// Both ends of a range between are cuts; one type serves the layers above them.
struct between_ends {
  static constexpr recipe rules{on(at::query, lora{}, between(1, 3)), on(at::value, lora{}, above(3)),
                                on(at::key, lora{}, top(1))};
};
static_assert(detail::run_count<between_ends> == 4);
static_assert(detail::run_length<between_ends>(0, 12) == 1);
static_assert(detail::run_length<between_ends>(1, 12) == 2);
static_assert(detail::run_length<between_ends>(2, 12) == 8);
static_assert(detail::run_length<between_ends>(3, 12) == 1);
static_assert(!between(1, 3).holds(detail::run_depth<between_ends>(0)));
static_assert(between(1, 3).holds(detail::run_depth<between_ends>(1)));
static_assert(!above(3).holds(detail::run_depth<between_ends>(1)));
static_assert(above(3).holds(detail::run_depth<between_ends>(2)));
static_assert(above(3).holds(detail::run_depth<between_ends>(3)));

// One type serves the layers below the highest two.
struct all_but_two {
  static constexpr recipe rules{on(at::query, lora{}, below(2))};
};
static_assert(detail::run_count<all_but_two> == 2);
static_assert(detail::run_length<all_but_two>(0, 12) == 10);
static_assert(below(2).holds(detail::run_depth<all_but_two>(0)));
static_assert(!below(2).holds(detail::run_depth<all_but_two>(1)));
