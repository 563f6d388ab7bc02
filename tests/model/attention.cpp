// SPDX-License-Identifier: MIT
// model/attention.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/attention.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"

namespace graft_test {

namespace {

struct value_updated {
  static constexpr recipe rules{on(at::value, lora{.rank = 2, .dropout = 0.2f})};
};
struct output_adapted {
  static constexpr recipe rules{on(at::attention_output, bottleneck{.width = 3})};
};

template <class B, class T = everything_trained>
using attention_of = self_attention<B, scope<T>>;

}  // namespace

TEMPLATE_TEST_CASE("attention has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  using L = attention_of<TestType>;
  check_layer(L(6, 2), sequences({1, 4, 3}));
  check_layer(L(6, 2, 0.3, 0.2), sequences({1, 4, 3}), true);
  check_layer(L(5, 1), sequences({2}));
  check_layer(L(6, 3), sequences({1}));
}

TEST_CASE("attention has the gradients of whatever is trained in it") {
  using B = cpu<double>;
  const layout rows = sequences({1, 4, 3});
  check_layer(attention_of<B, untuned>(6, 2), rows);
  check_layer(attention_of<B, biases_trained>(6, 2), rows);
  check_layer(attention_of<B, value_updated>(6, 2, 0.3, 0.2), rows, true);
  check_layer(attention_of<B, output_adapted>(6, 2, 0.3, 0.2), rows, true);
}

TEST_CASE("sequences do not see each other") {
  using B = cpu<double>;
  using L = attention_of<B>;
  host_workspace memory;
  L attention(6, 2);
  randomize(attention);
  const layout both = sequences({2, 3}), second = sequences({3});
  const auto x = random_tensor<B>(memory, 5, 6, 1);
  cache_t<L, nothing_wanted> none;
  const auto y = attention.forward<nothing_wanted>(x, none, {memory, both});
  const auto alone = attention.forward<nothing_wanted>(x.rows_of(2, 3), none, {memory, second});
  CHECK(relative_error(values_of<double>(y.rows_of(2, 3)), values_of<double>(alone)) < 1e-14);
}

TEST_CASE("attention keeps its product's inputs only where gradients pass it") {
  using B = cpu<float>;
  using above = attention_of<B, output_adapted>;
  using below = attention_of<B, value_updated>;
  STATIC_REQUIRE(!above::passed<parameters_wanted>);
  STATIC_REQUIRE(above::passed<all_wanted>);
  STATIC_REQUIRE(below::passed<parameters_wanted>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<below, nothing_wanted>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<attention_of<B, untuned>, parameters_wanted>>);
}

TEST_CASE("attention refuses heads that do not divide its width, and a batch of other rows") {
  using B = reference<double>;
  CHECK_THROWS_AS(attention_of<B>(6, 4), shape_error);
  CHECK_THROWS_AS(attention_of<B>(6, 0), shape_error);
  host_workspace memory;
  const layout rows = sequences({2});
  const context<B> k{memory, rows};
  const attention_of<B> attention(6, 2);
  cache_t<attention_of<B>, nothing_wanted> none;
  CHECK_THROWS_AS(attention.forward<nothing_wanted>(k.make(3, 6), none, k), shape_error);
}

}  // namespace graft_test
