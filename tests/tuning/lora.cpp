// SPDX-License-Identifier: MIT
// tuning/lora.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

template <int Rank, class L>
lora_layer<L, Rank> low_rank(L base, lora spec) {
  return {std::move(base), spec};
}

}  // namespace

TEMPLATE_TEST_CASE("a low-rank update has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  const auto scaling = GENERATE(lora_scaling::over_rank, lora_scaling::over_root);
  const lora spec{.rank = 3, .alpha = 5, .dropout = 0.3f, .scaling = scaling, .start_rank = 2};
  lora unbounded_rank = spec;
  unbounded_rank.rank = dynamic;
  check_layer(low_rank<3>(frozen(linear<B>(6, 4)), spec), rows, training);
  check_layer(low_rank<dynamic>(frozen(linear<B>(6, 4)), unbounded_rank), rows, training);
  check_layer(low_rank<3>(linear<B>(4, 6, false), spec), rows, training);
}

TEST_CASE("a low-rank update goes over a layer of the user's own") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3});
  check_layer(low_rank<dynamic>(frozen(toy_layer<B>(5)), lora{.rank = 2}), rows);
  check_layer(low_rank<2>(biases_only(toy_layer<B>(5)), lora{.rank = 2}), rows);
}

TEST_CASE("a low-rank update computes f(x) + s · x Aᵀ Bᵀ") {
  using B = reference<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> base(2, 1);
  base.weight(0, 0) = 1, base.weight(0, 1) = 1, base.bias(0, 0) = 0.5;
  lora_layer<linear<B>, 4> l(base, lora{.rank = 4, .alpha = 8});
  l.a(0, 0) = 2, l.a(1, 1) = 1, l.b(0, 0) = 3, l.b(0, 1) = 5;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  cache_t<decltype(l), nothing_wanted> none;
  const double branch = 3 * 20 + 5 * 100;
  CHECK(l.forward<nothing_wanted>(x, none, k)(0, 0) == Approx(110.5 + 2 * branch));
  l.scaling = lora_scaling::over_root;
  CHECK(l.forward<nothing_wanted>(x, none, k)(0, 0) == Approx(110.5 + 4 * branch));
}

TEST_CASE("a fresh low-rank update is random in A and zero in B") {
  using B = reference<double>;
  random_stream random(3);
  const auto l = lora_layer(frozen(linear<B>(16, 4)), lora{.rank = 5}, random);
  CHECK(l.rank() == 5);
  const std::vector<double> a = values_of<const double>(l.a), b = values_of<const double>(l.b);
  CHECK(std::all_of(a.begin(), a.end(), [](double v) { return v != 0 && std::abs(v) <= 0.25; }));
  CHECK(b == std::vector<double>(20, 0.0));
}

TEST_CASE("dropout acts on the branch alone, and only while training") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({4});
  const auto x = random_tensor<B>(memory, 4, 6, 1);
  lora_layer<linear<B>, 3> l(linear<B>(6, 4), lora{.rank = 3, .dropout = 0.5f});
  randomize(l);
  cache_t<decltype(l), nothing_wanted> none;
  const auto outputs = [&](bool training) {
    return values_of(l.forward<nothing_wanted>(x, none, {memory, rows, training}));
  };
  CHECK(outputs(true) != outputs(false));
  B::fill(l.b, 0);
  CHECK(outputs(true) == outputs(false));
}

TEST_CASE("a low-rank update keeps nothing of its own but for its parameters") {
  using L = lora_layer<frozen<linear<cpu<float>>>, 4>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, nothing_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, biases_wanted>>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(dense_layer<L>);
}

}  // namespace graft_test
