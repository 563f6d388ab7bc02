// SPDX-License-Identifier: MIT
// tuning/dora.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

template <int Rank, class B>
dora_layer<frozen<linear<B>>, Rank> decorated(index_t in, index_t out, bool bias, dora spec) {
  random_stream random(4);
  dora_layer<frozen<linear<B>>, Rank> layer(frozen(linear<B>(in, out, bias)), spec);
  randomize(layer);
  return layer;
}

}  // namespace

// n is a constant of the gradient: differences agree once it is held.
TEMPLATE_TEST_CASE("dora has the gradients of its formula", "", cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  const dora spec{.rank = 3, .alpha = 5, .dropout = 0.3f, .start_rank = 2};
  dora unbounded_rank = spec;
  unbounded_rank.rank = dynamic;
  unbounded_rank.scaling = lora_scaling::over_root;
  auto a = decorated<3, B>(6, 4, true, spec);
  a.hold_lengths();
  check_layer(a, rows, training);
  auto b = decorated<dynamic, B>(4, 6, false, unbounded_rank);
  b.hold_lengths();
  check_layer(b, rows, training);
}

TEST_CASE("held lengths change nothing") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({4});
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 4, 6, 1);
  auto layer = decorated<3, B>(6, 5, true, {.rank = 3});
  cache_t<decltype(layer), nothing_wanted> none;
  const auto before = values_of(layer.forward<nothing_wanted>(x, none, k));
  layer.hold_lengths();
  CHECK(values_of(layer.forward<nothing_wanted>(x, none, k)) == before);
}

TEST_CASE("dora scales rows of W + s B A to its magnitudes") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> base(2, 1);
  base.weight(0, 0) = 1, base.weight(0, 1) = 2, base.bias(0, 0) = 0.5;
  dora_layer<frozen<linear<B>>, 1> layer(frozen<linear<B>>(base), {.rank = 1, .alpha = 2});
  layer.a(0, 0) = 1, layer.a(0, 1) = 1, layer.b(0, 0) = 1, layer.magnitude(0, 0) = 10;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  cache_t<decltype(layer), nothing_wanted> none;
  // W + 2 B A = (3, 4), of length 5.
  CHECK(layer.forward<nothing_wanted>(x, none, k)(0, 0) == Approx(2 * (30 + 400) + 0.5));
}

TEST_CASE("fresh magnitudes are the lengths of the weight's rows") {
  using B = cpu<double>;
  linear<B> base(2, 2);
  base.weight(0, 0) = 3, base.weight(0, 1) = 4, base.weight(1, 1) = 2;
  random_stream random(3);
  const auto layer = dora_layer(frozen(base), dora{.rank = 2}, random);
  CHECK(layer.magnitude(0, 0) == Approx(5));
  CHECK(layer.magnitude(0, 1) == Approx(2));
  CHECK(values_of<const double>(layer.b) == std::vector<double>(4, 0.0));
}

TEST_CASE("dora goes around a frozen weight, and other updates around dora") {
  using B = cpu<double>;
  STATIC_REQUIRE(frozen_affine<frozen<linear<B>>>);
  STATIC_REQUIRE(!frozen_affine<linear<B>>);
  STATIC_REQUIRE(!frozen_affine<biases_only<linear<B>>>);
  auto inner = decorated<2, B>(5, 4, true, {.rank = 2});
  inner.hold_lengths();
  check_layer(lora_layer<decltype(inner), 2>(inner, lora{.rank = 2}), sequences({2, 1}));
}

TEST_CASE("dora takes numbers at run time") {
  using B = cpu<double>;
  dora_layer<frozen<linear<B>>, dynamic> layer(frozen(linear<B>(5, 4)), dora{.rank = dynamic});
  layer.renumber({{"rank", 3}, {"alpha", 9}, {"dropout", 0.5}});
  CHECK(layer.rank() == 3);
  CHECK(layer.scale() == 3);
  CHECK(layer.numbers().find("dropout") == 0.5);
  dora_layer<frozen<linear<B>>, 2> fixed(frozen(linear<B>(5, 4)), dora{.rank = 2});
  CHECK_THROWS_AS(fixed.renumber({{"rank", 3}}), shape_error);
}

}  // namespace graft_test
