// SPDX-License-Identifier: MIT
// tuning/frozen.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::frozen_tests {

namespace {

using B = cpu<double>;

template <class L>
std::vector<double> outputs_of_random(L& layer, const std::vector<index_t>& shape) {
  host_workspace memory;
  const layout rows = separate_rows(shape[0]);
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, shape[0], shape[1], 6);
  cache_t<L, nothing_wanted> none;
  return values_of(layer.template forward<nothing_wanted>(x, none, k));
}

}  // namespace

TEMPLATE_TEST_CASE("a frozen layer hands its input's gradient on", "", cpu<double>) {
  using F = TestType;
  check_layer(frozen(linear<F>(5, 3)), separate_rows(4));
  check_layer(frozen(linear<F>(5, 3, false)), separate_rows(4));
  check_layer(frozen(layer_norm<F>(5)), separate_rows(4));
  check_layer(frozen(toy_layer<F>(5)), separate_rows(4));
}

TEMPLATE_TEST_CASE("a layer of which only the biases are trained has their gradients", "",
                   cpu<double>) {
  using F = TestType;
  check_layer(biases_only(linear<F>(5, 3)), separate_rows(4));
  check_layer(biases_only(linear<F>(5, 3, false)), separate_rows(4));
  check_layer(biases_only(layer_norm<F>(5)), separate_rows(4));
  check_layer(biases_only(toy_layer<F>(5)), separate_rows(4));
}

TEST_CASE("freezing changes no bit of the output") {
  linear<B> dense(5, 3);
  randomize(dense);
  frozen held(dense);
  biases_only some(dense);
  const auto y = outputs_of_random(dense, {4, 5});
  CHECK(outputs_of_random(held, {4, 5}) == y);
  CHECK(outputs_of_random(some, {4, 5}) == y);

  toy_layer<B> toy(5);
  randomize(toy);
  frozen held_toy(toy);
  CHECK(outputs_of_random(held_toy, {4, 5}) == outputs_of_random(toy, {4, 5}));
}

TEST_CASE("a frozen layer has no gradient, and keeps nothing for parameters") {
  using L = frozen<linear<B>>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, nothing>);
  STATIC_REQUIRE(std::is_same_v<decltype(L::weight), B::frozen_weight>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, all_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<frozen<layer_norm<B>>, parameters_wanted>>);
  STATIC_REQUIRE(!std::is_empty_v<cache_t<frozen<layer_norm<B>>, input_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<frozen<embedding<B>>, all_wanted>>);
  STATIC_REQUIRE(dense_layer<L>);

  using T = frozen<toy_layer<B>>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<T>, nothing>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<T, all_wanted>>);
  STATIC_REQUIRE(std::is_base_of_v<toy_layer<B>, T>);
  STATIC_REQUIRE(dense_layer<T>);
}

TEST_CASE("biases alone keep no input") {
  STATIC_REQUIRE(std::is_empty_v<cache_t<biases_only<linear<B>>, all_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<biases_only<layer_norm<B>>, parameters_wanted>>);
  STATIC_REQUIRE(std::is_same_v<decltype(gradient_t<biases_only<linear<B>>>::weight), nothing>);
}

TEST_CASE("freezing shares the values and keeps them alive") {
  std::vector<double> y;
  frozen<linear<B>> held;
  {
    linear<B> dense(5, 3);
    randomize(dense);
    y = outputs_of_random(dense, {4, 5});
    held = frozen(dense);
    CHECK(held.weight.data == dense.weight.data);
  }
  CHECK(outputs_of_random(held, {4, 5}) == y);
}

}  // namespace graft_test::frozen_tests
