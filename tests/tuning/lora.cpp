// SPDX-License-Identifier: MIT
// tuning/lora.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

template <int Rank, class L>
lora_layer<L, Rank> low_rank_over(L base, lora spec) {
  return {std::move(base), spec};
}

}  // namespace

TEMPLATE_TEST_CASE("a low-rank update has the gradients of its formula", "", cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  const auto scaling = GENERATE(lora_scaling::over_rank, lora_scaling::over_root);
  const lora spec{.rank = 3, .alpha = 5, .dropout = 0.3f, .scaling = scaling, .start_rank = 2};
  lora unbounded_rank = spec;
  unbounded_rank.rank = dynamic;
  check_layer(low_rank_over<3>(frozen(linear<B>(6, 4)), spec), rows, training);
  check_layer(low_rank_over<dynamic>(frozen(linear<B>(6, 4)), unbounded_rank), rows, training);
  check_layer(low_rank_over<3>(linear<B>(4, 6, false), spec), rows, training);
}

TEST_CASE("a low-rank update goes over a layer of the user's own") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3});
  check_layer(low_rank_over<dynamic>(frozen(toy_layer<B>(5)), lora{.rank = 2}), rows);
  check_layer(low_rank_over<2>(biases_only(toy_layer<B>(5)), lora{.rank = 2}), rows);
}

TEST_CASE("a low-rank update computes f(x) + s · x Aᵀ Bᵀ") {
  using B = cpu<double>;
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
  using B = cpu<double>;
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

TEST_CASE("a frozen A has no gradient, and its layer keeps no input") {
  using B = cpu<double>;
  using half = lora_layer<frozen<linear<B>>, 3, lora_form{.train_a = false}>;
  STATIC_REQUIRE(std::is_same_v<decltype(gradient_t<half>::a), nothing>);
  STATIC_REQUIRE(std::is_same_v<decltype(cache_t<half, all_wanted>::x), nothing>);
  const bool training = GENERATE(false, true);
  const lora spec{.rank = 3, .alpha = 5, .dropout = 0.3f, .train_a = false};
  check_layer(half(frozen(linear<B>(6, 4)), spec), sequences({1, 3, 2}), training);

  half layer(frozen(linear<B>(6, 4)), spec);
  const auto store = gather(layer);
  REQUIRE(store.segments.size() == 1);
  CHECK(store.segments[0].path == "lora.b");
}

TEST_CASE("a gate takes the place of a low-rank update's scale") {
  using B = cpu<double>;
  const lora spec{.rank = 3, .alpha = 5, .dropout = 0.3f, .gating = true};
  const bool training = GENERATE(false, true);
  using gated_layer = lora_layer<frozen<linear<B>>, 3, lora_form{.gating = true}>;
  check_layer(gated_layer(frozen(linear<B>(6, 4)), spec), sequences({1, 3, 2}), training);
  check_layer(
      lora_layer<linear<B>, 3, lora_form{.train_a = false, .gating = true}>(linear<B>(6, 4), spec),
      sequences({1, 3, 2}), training);

  host_workspace memory;
  const layout rows = sequences({2, 1});
  const context<B> k{memory, rows};
  gated_layer layer(frozen(linear<B>(1, 1)), {.rank = 3, .gating = true});
  layer.a(0, 0) = 1, layer.b(0, 0) = 1, layer.gate.map.weight(0, 0) = 1;
  auto x = k.make(3, 1);
  x(0, 0) = 1, x(1, 0) = -2, x(2, 0) = 3;
  cache_t<gated_layer, nothing_wanted> none;
  const auto y = layer.forward<nothing_wanted>(x, none, k);
  const auto open = [](double z) { return 1 / (1 + std::exp(-z)); };
  const double first = (open(1) + open(-2)) / 2;
  CHECK(y(0, 0) == Approx(first * 1));
  CHECK(y(1, 0) == Approx(first * -2));
  CHECK(y(2, 0) == Approx(open(3) * 3));
}

TEST_CASE("B may learn at a rate of its own") {
  using B = cpu<double>;
  lora_layer<linear<B>, 2> layer(linear<B>(5, 4), lora{.rank = 2, .b_rate = 16});
  for (const segment& s : gather(layer).segments)
    CHECK(s.rate_factor == (s.path == "lora.b" ? 16 : 1));
}

TEMPLATE_TEST_CASE_SIG("factors taken out of a weight leave the layer what it was", "",
                       ((lora_init Init), Init), lora_init::pissa, lora_init::olora) {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({4});
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 4, 6, 1);
  frozen<linear<B>> base(linear<B>(6, 5));
  randomize(base);
  cache_t<frozen<linear<B>>, nothing_wanted> none;
  const auto before = values_of(base.forward<nothing_wanted>(x, none, k));

  using tuned = lora_layer<frozen<linear<B>>, dynamic, lora_form{.init = Init}>;
  random_stream draw(3);
  tuned layer(base, lora{.rank = dynamic, .alpha = 6, .start_rank = 2, .init = Init}, draw);
  cache_t<tuned, nothing_wanted> nothing_kept;
  CHECK(relative_error(values_of(layer.template forward<nothing_wanted>(x, nothing_kept, k)),
                       before) < 1e-12);
  CHECK(largest(values_of<double>(layer.b)) > 0);
  CHECK(values_of<const double>(layer.base.weight) != values_of<const double>(base.weight));

  // What a file holds does to the untouched weight what training made of the layer.
  B::add_scaled(layer.a, layer.a, 0.5);
  B::fill(layer.b, 0.25);
  lora_layer<frozen<linear<B>>> plain(base, lora{.rank = dynamic});
  plain.renumber(layer.saved_numbers());
  layer.saved_parts([&](auto tag, const B::parameter& p) {
    auto& to = tag.name == at::lora_a.name ? plain.a : plain.b;
    REQUIRE((to.rows == p.rows && to.cols == p.cols));
    B::copy(to, p);
  });
  cache_t<decltype(plain), nothing_wanted> none_of_plain;
  CHECK(relative_error(values_of(plain.template forward<nothing_wanted>(x, none_of_plain, k)),
                       values_of(layer.template forward<nothing_wanted>(x, nothing_kept, k))) <
        1e-12);

  check_layer(layer, rows);

  tuned too_high(base, lora{.rank = dynamic, .start_rank = 6, .init = Init});
  CHECK_THROWS_WITH(too_high.start_from_base(), "graft: lora.rank: expected at most 5, found 6");
}

}  // namespace graft_test
