// SPDX-License-Identifier: MIT
// tuning/vera.hpp and the matrices that layers have in common
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/vera.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

template <class L>
vera_layer<L> shared_random(L base, const vera& spec) {
  random_stream random(3);
  return {std::move(base), spec, random};
}

// Two layers of different sizes, as a model would hold them.
template <class B>
struct two_vera_layers {
  using backend_type = B;
  using vera_type = vera_layer<frozen<linear<B>>>;
  using gradient = nothing;

  vera_type up, down;

  two_vera_layers(const vera& first, const vera& second)
      : up(frozen(linear<B>(4, 6)), first), down(frozen(linear<B>(6, 3)), second) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::feed_forward_input, z.up...);
    f(at::feed_forward_output, z.down...);
  }
};

}  // namespace

TEMPLATE_TEST_CASE("a VeRA layer has the gradients of its formula", "", cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  const vera spec{.rank = 3, .dropout = 0.3f};
  check_layer(shared_random(frozen(linear<B>(6, 4)), spec), rows, training);
  check_layer(shared_random(linear<B>(4, 6, false), spec), rows, training);
  check_layer(shared_random(biases_only(toy_layer<B>(5)), spec), rows, training);
}

TEST_CASE("VeRA and low-rank updates nest") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3, 2});
  const lora low{.rank = 2, .dropout = 0.2f};
  const vera spec{.rank = 3, .dropout = 0.2f};
  check_layer(lora_layer(shared_random(frozen(linear<B>(5, 4)), spec), low), rows, true);
  check_layer(shared_random(lora_layer(frozen(linear<B>(5, 4)), low), spec), rows, true);
}

TEST_CASE("VeRA computes f(x) + λ_b ∘ (B (λ_d ∘ (A x))) with the first rows of what is shared") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> base(2, 1);
  base.weight(0, 0) = 1, base.weight(0, 1) = 1, base.bias(0, 0) = 0.5;
  auto l = shared_random(base, {.rank = 2});
  B::parameter a(3, 2), b(2, 2);  // of a model whose widest layer is [3 -> 2]
  a(0, 0) = 1, a(1, 0) = 2, a(0, 1) = 3, a(1, 1) = 0, a(2, 0) = 99, a(2, 1) = 99;
  b(0, 0) = 5, b(0, 1) = 7, b(1, 0) = 99, b(1, 1) = 99;
  l.a = a, l.b = b;
  l.lambda_d(0, 0) = 2, l.lambda_d(0, 1) = -1, l.lambda_b(0, 0) = 10;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  cache_t<decltype(l), nothing_wanted> none;
  const double first = 10 + 2 * 100, second = 3 * 10;
  CHECK(l.forward<nothing_wanted>(x, none, k)(0, 0) ==
        110.5 + 10 * (5 * 2 * first + 7 * -1 * second));
}

TEST_CASE("a fresh VeRA layer starts with λ_d at its initial value and λ_b at zero") {
  auto l = shared_random(frozen(linear<cpu<double>>(6, 4)), {.rank = 3, .initial = 0.25f});
  CHECK(values_of<double>(l.lambda_d) == std::vector<double>(3, 0.25));
  CHECK(values_of<double>(l.lambda_b) == std::vector<double>(4, 0.0));
}

TEST_CASE("all layers of a model hold the same two matrices, as large as the largest needs") {
  using B = cpu<double>;
  two_vera_layers<B> model({.rank = 5}, {.rank = 5});
  prepare(model, 1);
  CHECK(model.up.a.rows == 6);
  CHECK(model.up.b.rows == 6);
  CHECK(model.up.a.data == model.down.a.data);
  CHECK(model.up.b.data == model.down.b.data);
  const auto a = values_of<const double>(model.up.a), b = values_of<const double>(model.up.b);
  CHECK(a.size() == 30);
  CHECK(a != b);
  CHECK(largest(a) <= 1);  // √(6 / 6)
  CHECK(largest(a) > 0.8);
  CHECK(largest(b) <= std::sqrt(6.0 / 5));
  CHECK(largest(b) > 1);

  two_vera_layers<B> again({.rank = 5}, {.rank = 5});
  prepare(again, 2);  // another seed of the run
  CHECK(values_of<const double>(again.up.a) == a);
  prepare(again, 1, {{"projection_seed", 7}});
  CHECK(values_of<const double>(again.up.a) != a);
  prepare(again, 1, {{"rank", 2}});
  CHECK(again.down.b.rows == 6);
  CHECK(again.down.b.cols == 2);
  CHECK(again.down.lambda_d.cols == 2);
}

TEST_CASE("layers of different ranks or seeds hold different matrices") {
  using B = cpu<double>;
  two_vera_layers<B> ranks({.rank = 5}, {.rank = 3});
  prepare(ranks, 1);
  CHECK(ranks.up.a.rows == 4);
  CHECK(ranks.up.a.cols == 5);
  CHECK(ranks.down.a.rows == 6);
  CHECK(ranks.down.a.cols == 3);
  two_vera_layers<B> seeds({.rank = 5}, {.rank = 5, .projection_seed = 1});
  prepare(seeds, 1);
  CHECK(seeds.up.a.data != seeds.down.a.data);
}

TEST_CASE("VeRA keeps nothing of its own but for its parameters") {
  using L = vera_layer<frozen<linear<cpu<float>>>>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, biases_wanted>>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(dense_layer<L>);
}

}  // namespace graft_test
