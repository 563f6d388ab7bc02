// SPDX-License-Identifier: MIT
// model/feed_forward.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/tuning/bottleneck.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"

namespace graft_test {

namespace {

struct output_trained {
  static constexpr recipe rules{on(at::feed_forward_output, train{})};
};
struct input_adapted {
  static constexpr recipe rules{
      on(at::feed_forward_input, bottleneck{.width = 3, .place = placement::before})};
};

template <class B, class T = everything_trained>
using feed_forward_of = feed_forward<B, scope<T>>;

}  // namespace

TEMPLATE_TEST_CASE("a feed-forward sub-layer has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  using L = feed_forward_of<TestType>;
  const layout rows = sequences({1, 4, 3});
  check_layer(L(4, 7, activation::gelu), rows);
  check_layer(L(4, 7, activation::relu, 0.3), rows, true);
}

TEST_CASE("a feed-forward sub-layer has the gradients of whatever is trained in it") {
  using B = cpu<double>;
  const layout rows = sequences({1, 4, 3});
  check_layer(feed_forward_of<B, untuned>(4, 7, activation::gelu), rows);
  check_layer(feed_forward_of<B, output_trained>(4, 7, activation::silu, 0.3), rows, true);
  check_layer(feed_forward_of<B, input_adapted>(4, 7, activation::gelu_tanh), rows);
}

TEST_CASE("a feed-forward sub-layer keeps what stands before its activation only if it must") {
  using B = cpu<float>;
  using above = feed_forward_of<B, output_trained>;
  STATIC_REQUIRE(std::is_empty_v<decltype(cache_t<above, parameters_wanted>::middle)>);
  STATIC_REQUIRE(!std::is_empty_v<decltype(cache_t<above, all_wanted>::middle)>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<feed_forward_of<B, untuned>, parameters_wanted>>);
}

}  // namespace graft_test
