// SPDX-License-Identifier: MIT
// tuning/composition.hpp: several adapters at one place.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test::composition_tests {

namespace {

using B = cpu<double>;
using Catch::Matchers::Contains;
using frozen_join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;
using trained_join = add_norm<layer_norm<B>, at::attention_norm_t>;

// As few columns, many, and options that lead gradients elsewhere.
constexpr bottleneck plain_adapter{.width = 3};
constexpr bottleneck rich{.width = 3,
                          .activation = activation::gelu,
                          .dropout = 0.3f,
                          .ln_after = true,
                          .adapter_residual_before_ln = true,
                          .gating = true,
                          .stochastic_depth = 0.3f,
                          .original_ln_after = false,
                          .residual = adapter_residual::post_add};
constexpr bottleneck at_input{
    .width = 3, .original_ln_before = false, .residual = adapter_residual::input};
constexpr bottleneck beside{.width = 3, .place = placement::parallel};

template <auto Spec, class L>
auto composed(L base) {
  using what = std::remove_const_t<decltype(Spec)>;
  return typename what::template apply<L, Spec>(std::move(base), Spec);
}
template <auto Spec>
void check_joins(bool training = false) {
  const layout rows = sequences({1, 3, 2, 4});
  check_join(composed<Spec>(frozen_join{frozen(layer_norm<B>(5))}), rows, training);
  check_join(composed<Spec>(trained_join{layer_norm<B>(5)}), rows, training);
}

}  // namespace

TEST_CASE("a stack of adapters has the gradients of its formula") {
  check_joins<compose::stack{.adapters = 3, .each = plain_adapter}>();
  check_joins<compose::stack{.each = rich}>(true);
  check_joins<compose::stack{.each = at_input}>();
}

TEST_CASE("an average of adapters has the gradients of its formula") {
  check_joins<compose::average{.each = plain_adapter}>();
  check_joins<compose::average{.adapters = 3, .each = rich, .weights = {0.2f, 0.5f, 0.1f}}>(true);
  check_layer(composed<compose::average{.each = beside}>(frozen(linear<B>(5, 4))),
              sequences({1, 3}));
}

TEST_CASE("adapters that split sequences or a batch have the gradients of their formulas") {
  check_joins<compose::split{.adapters = 3, .each = plain_adapter}>();
  check_joins<compose::split{.each = rich, .lengths = {2}}>(true);
  check_joins<compose::batch_split{.each = rich, .sizes = {1}}>(true);
  check_joins<compose::batch_split{.adapters = 3, .each = at_input}>();
  check_layer(composed<compose::split{.each = beside}>(linear<B>(5, 4)), sequences({1, 3}));
}

TEST_CASE("adapters of several tasks have the gradients of their formulas") {
  for (const std::vector<std::uint32_t>& tasks :
       {std::vector<std::uint32_t>{1, 0, 1, 2}, {2, 2, 2, 2}, {0, 0, 1, 1}}) {
    layout rows = sequences({1, 3, 2, 4});
    rows.tasks = tasks;
    const auto check = [&](auto join) { check_join(std::move(join), rows, true); };
    check(composed<compose::by_task{.adapters = 3, .each = rich}>(
        frozen_join{frozen(layer_norm<B>(5))}));
    check(composed<compose::by_task{.adapters = 3, .each = at_input}>(
        trained_join{layer_norm<B>(5)}));
    check_layer(composed<compose::by_task{.adapters = 3, .each = beside}>(frozen(linear<B>(5, 4))),
                rows);
  }
}

TEST_CASE("a fusion of adapters has the gradients of its formula") {
  check_joins<compose::fuse{.adapters = 3, .each = plain_adapter, .dropout = 0.3f}>(true);
  check_joins<compose::fuse{.each = at_input, .value = false}>();
  check_layer(composed<compose::fuse{.each = {.width = 3}}>(frozen(linear<B>(5, 4))),
              sequences({1, 3}));
}

namespace {

// Two adapters of one column over a join that adds: A_a(x) = 2 x, A_b(x) = 10 x.
template <auto Spec>
auto two_of_one_column() {
  auto j = composed<Spec>(add<B>{1});
  const auto set = [](auto& a, double slope) {
    a.function = activation::identity;
    a.down.weight(0, 0) = slope, a.up.weight(0, 0) = 1;
  };
  if constexpr (requires { j.adapters; })
    set(j.adapters[0], 2), set(j.adapters[1], 10);
  else
    set(j.adapter.adapters[0], 2), set(j.adapter.adapters[1], 10);
  return j;
}
constexpr bottleneck one_column{.width = 1};

// With t = 0: both of the join's norms are left out of it.
template <class J>
std::vector<double> joined(const J& j, const layout& rows, std::vector<double> h) {
  host_workspace memory;
  const context<B> k{memory, rows};
  auto x = B::make(memory, rows.rows(), 1), t = B::make(memory, rows.rows(), 1);
  std::copy(h.begin(), h.end(), x.data);
  B::fill(t, 0);
  cache_t<J, nothing_wanted> none;
  return values_of(j.template join<nothing_wanted>(x, t, none, k));
}
using numbers = std::vector<double>;

}  // namespace

TEST_CASE("a stack feeds each adapter what the one before it gave") {
  const auto j = two_of_one_column<compose::stack{.each = one_column}>();
  CHECK(joined(j, sequences({2}), {1, -2}) == numbers{33, -66});  // (1 + 2) (1 + 10)
}

TEST_CASE("an average divides by the sum of its weights, once") {
  const layout rows = sequences({1});
  CHECK(joined(two_of_one_column<compose::average{.each = one_column}>(), rows, {1})[0] ==
        Approx(1 + (2 + 10) / 2.0));
  CHECK(joined(two_of_one_column<compose::average{.each = one_column, .weights = {3, 1}}>(), rows,
               {1})[0] == Approx(1 + (3 * 2 + 10) / 4.0));
  CHECK(joined(two_of_one_column<compose::average{
                   .each = one_column, .weights = {3, 1}, .normalize = false}>(),
               rows, {1})[0] == Approx(4 + 3 * 2 + 10));
}

TEST_CASE("a split shares out the tokens of each sequence") {
  const layout rows = sequences({1, 3, 2});
  const numbers ones(6, 1.0);
  CHECK(joined(two_of_one_column<compose::split{.each = one_column}>(), rows, ones) ==
        numbers{3, 3, 3, 11, 3, 11});
  CHECK(joined(two_of_one_column<compose::split{.each = one_column, .lengths = {1}}>(), rows,
               ones) == numbers{3, 3, 11, 11, 3, 11});
  CHECK(joined(two_of_one_column<compose::split{.each = one_column, .lengths = {5}}>(), rows,
               ones) == numbers{3, 3, 3, 3, 3, 3});
}

TEST_CASE("a batch split shares out the sequences of a batch") {
  const layout rows = sequences({1, 3, 2});
  const numbers ones(6, 1.0);
  auto j = two_of_one_column<compose::batch_split{.each = one_column}>();
  CHECK(joined(j, rows, ones) == numbers{3, 3, 3, 3, 11, 11});
  j.adapter.sharing.sizes = {1};
  CHECK(joined(j, rows, ones) == numbers{3, 11, 11, 11, 11, 11});
}

TEST_CASE("adapters of several tasks get the sequences of theirs") {
  layout rows = sequences({1, 3, 2});
  const numbers ones(6, 1.0);
  const auto j = two_of_one_column<compose::by_task{.each = one_column}>();
  rows.tasks = {1, 0, 1};
  CHECK(joined(j, rows, ones) == numbers{11, 3, 3, 3, 11, 11});
  rows.tasks = {1, 1, 1};
  CHECK(joined(j, rows, ones) == numbers(6, 11.0));
  rows.tasks = {0, 2, 1};
  CHECK_THROWS_WITH(joined(j, rows, ones),
                    Contains("by_task: expected sequences of tasks below 2, found one of task 2"));
}

TEST_CASE("a fusion weighs its adapters by how their outputs meet a query") {
  auto j = two_of_one_column<compose::fuse{.each = one_column}>();
  auto& f = j.adapter;
  f.query.weight(0, 0) = 0.5, f.query.bias(0, 0) = 0.25;
  f.key.weight(0, 0) = 0.4, f.key.bias(0, 0) = 7;
  f.value.weight(0, 0) = 3;
  const double q = 0.5 * 2 + 0.25, a = std::exp(q * 0.4 * 4), b = std::exp(q * 0.4 * 20);
  CHECK(joined(j, sequences({1}), {2})[0] == Approx(3 * (a * 4 + b * 20) / (a + b) + 2));
}

TEST_CASE("a fusion trains its layer alone, beginning with values as they are") {
  random_stream random(3);
  constexpr compose::fuse spec{.each = plain_adapter};
  compose::fuse::apply<frozen_join, spec> j(frozen_join{frozen(layer_norm<B>(5))}, spec, random);
  std::string trained;
  for (const segment& s : gather(j).segments)
    trained += s.path + " ";
  CHECK(trained ==
        "adapter.fusion.query.weight adapter.fusion.query.bias adapter.fusion.key.weight "
        "adapter.fusion.key.bias adapter.fusion.value.weight ");
  CHECK(j.adapter.value.weight(2, 2) == 1);
  CHECK(j.adapter.value.weight(2, 3) == 1e-6);
}

TEST_CASE("a fusion's regulariser pulls its values to the identity") {
  auto j = composed<compose::fuse{.each = plain_adapter, .regularization = 0.5}>(
      frozen_join{frozen(layer_norm<B>(5))});
  randomize(j);
  auto store = gather(j);
  auto g = make_gradient(j, store);
  const double penalty = add_penalties(j, g.gradient);
  double sum = 0;
  for (index_t r = 0; r < 5; ++r)
    for (index_t c = 0; c < 5; ++c) {
      const double off = j.adapter.value.weight(r, c) - (r == c);
      sum += off * off;
      CHECK(g.gradient.adapter.value.weight(r, c) == Approx(off));
    }
  CHECK(penalty == Approx(sum / 2));
}

TEST_CASE("adapters of a composition have names, and values of their own") {
  auto j = composed<compose::stack{.adapters = 3, .each = plain_adapter}>(
      frozen_join{frozen(layer_norm<B>(5))});
  std::string names;
  for (const auto& p : list_parts(j).parameters)
    if (p.path.ends_with("down.weight"))
      names += p.path + " ";
  CHECK(names == "adapter.a.down.weight adapter.b.down.weight adapter.c.down.weight ");
  CHECK(j.adapters[0].down.weight.data != j.adapters[1].down.weight.data);
}

TEST_CASE("a composition keeps nothing when nothing is asked of it") {
  STATIC_REQUIRE(std::is_trivially_destructible_v<
                 cache_t<compose::stack::apply<frozen_join, compose::stack{}>, nothing_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<
                 cache_t<compose::fuse::apply<frozen_join, compose::fuse{}>, nothing_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<
                 cache_t<compose::split::apply<frozen_join, compose::split{}>, nothing_wanted>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<
          cache_t<compose::average::apply<frozen_join, compose::average{}>, nothing_wanted>>);
}

}  // namespace graft_test::composition_tests
