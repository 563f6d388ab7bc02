// SPDX-License-Identifier: MIT
// tuning/ia3.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

template <ia3_place Where, class L>
ia3_layer<L, Where> scaled(L base) {
  return {std::move(base), ia3{.place = Where}};
}

template <class L>
void check_input_and_output(const L& base, bool training = false) {
  const layout rows = sequences({1, 3, 2});
  check_layer(scaled<ia3_place::output>(base), rows, training);
  check_layer(scaled<ia3_place::input>(base), rows, training);
}

}  // namespace

TEMPLATE_TEST_CASE("a scaled layer has the gradients of its formula", "", cpu<double>) {
  using B = TestType;
  check_input_and_output(frozen(linear<B>(6, 4)));
  check_input_and_output(linear<B>(4, 6, false));
  check_input_and_output(biases_only(linear<B>(5, 3)));
}

TEST_CASE("scaling goes over a layer of the user's own") {
  using B = cpu<double>;
  check_input_and_output(frozen(toy_layer<B>(5)));
  check_input_and_output(toy_layer<B>(5));
}

TEST_CASE("scaling goes over composites and decorated layers, and under them") {
  using B = cpu<double>;
  using whole = feed_forward<B, scope<untuned>>;
  check_input_and_output(whole(4, 6, activation::gelu, 0.3), true);
  const lora low{.rank = 2, .dropout = 0.2f};
  check_input_and_output(lora_layer(frozen(linear<B>(5, 4)), low), true);
  const layout rows = sequences({1, 3, 2});
  check_layer(lora_layer(scaled<ia3_place::output>(frozen(linear<B>(5, 4))), low), rows, true);
  using branch = bottleneck_layer<ia3_layer<frozen<linear<B>>, ia3_place::input>, placement::after>;
  check_layer(branch(scaled<ia3_place::input>(frozen(linear<B>(5, 4))), {.width = 3}), rows);
}

TEST_CASE("an output is scaled with its bias, an input before the layer") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> base(2, 1);
  base.weight(0, 0) = 2, base.weight(0, 1) = 3, base.bias(0, 0) = 0.5;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  const auto output_of = [&](const auto& layer) {
    cache_t<std::remove_cvref_t<decltype(layer)>, nothing_wanted> none;
    return layer.template forward<nothing_wanted>(x, none, k)(0, 0);
  };
  auto behind = scaled<ia3_place::output>(base);
  CHECK(output_of(behind) == 320.5);
  behind.scale(0, 0) = 4;
  CHECK(output_of(behind) == 4 * 320.5);
  auto before = scaled<ia3_place::input>(base);
  CHECK(output_of(before) == 320.5);
  before.scale(0, 0) = 7, before.scale(0, 1) = 0.5;
  CHECK(output_of(before) == 2 * 70 + 3 * 50 + 0.5);
}

TEST_CASE("a fresh scale is one") {
  auto l = scaled<ia3_place::output>(frozen(linear<cpu<double>>(3, 2)));
  CHECK(values_of<double>(l.scale) == std::vector<double>(2, 1.0));
  random_stream random;
  randomize(l);
  l.initialize(random);
  CHECK(values_of<double>(l.scale) == std::vector<double>(2, 1.0));
}

TEST_CASE("a scaled layer is affine where its base is, and keeps nothing but for its scale") {
  using base = frozen<linear<cpu<float>>>;
  using adapted = bottleneck_layer<base, placement::parallel>;
  STATIC_REQUIRE(dense_layer<ia3_layer<base, ia3_place::output>>);
  STATIC_REQUIRE(dense_layer<ia3_layer<ia3_layer<base, ia3_place::input>, ia3_place::output>>);
  STATIC_REQUIRE(!dense_layer<ia3_layer<adapted, ia3_place::output>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<ia3_layer<base, ia3_place::output>, input_wanted>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<ia3_layer<base, ia3_place::input>, biases_wanted>>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<
                 cache_t<ia3_layer<base, ia3_place::output>, parameters_wanted>>);
}

}  // namespace graft_test
