// SPDX-License-Identifier: MIT
// model/transformer_layer.hpp
#include <graft/backend/cpu.hpp>
#include <graft/model/transformer_layer.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"

namespace graft_test::transformer_layer_tests {

namespace {

using B = cpu<double>;

// Each of these trains one place, so that each of the layer's demands is the lowest one once.
struct upper_norm_trained {
  static constexpr recipe rules{on(at::feed_forward_norm, train{})};
};
struct feed_forward_adapted {
  static constexpr recipe rules{on(at::feed_forward, bottleneck{.width = 3})};
};
struct lower_join_adapted {
  static constexpr recipe rules{on(at::attention_join, bottleneck{.width = 3})};
};
struct key_updated {
  static constexpr recipe rules{on(at::key, lora{.rank = 2})};
};

template <class T>
using layer_of = transformer_layer<B, scope<T>>;

const transformer_config small{.width = 6,
                               .layers = 1,
                               .heads = 2,
                               .inner = 7,
                               .epsilon = 1e-5,
                               .hidden_dropout = 0.2,
                               .attention_dropout = 0.3};

const layout rows = sequences({1, 4, 3});

}  // namespace

TEST_CASE("a Transformer layer has the gradients of its formula") {
  check_layer(layer_of<everything_trained>(small), rows, false);
  check_layer(layer_of<everything_trained>(small), rows, true);
}

TEST_CASE("a Transformer layer has the gradients of whatever is trained in it") {
  check_layer(layer_of<untuned>(small), rows, true);
  check_layer(layer_of<biases_trained>(small), rows, true);
  check_layer(layer_of<upper_norm_trained>(small), rows, true);
  check_layer(layer_of<feed_forward_adapted>(small), rows, true);
  check_layer(layer_of<lower_join_adapted>(small), rows, true);
  check_layer(layer_of<key_updated>(small), rows, true);
}

TEST_CASE("a Transformer layer keeps nothing below its lowest trained place") {
  using caches = cache_t<layer_of<feed_forward_adapted>, parameters_wanted>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<decltype(caches::attention)>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<decltype(caches::attention_join)>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<decltype(caches::feed_forward.base)>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<decltype(caches::feed_forward.adapter)>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<decltype(caches::feed_forward_join)>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<layer_of<untuned>, parameters_wanted>>);
}

}  // namespace graft_test::transformer_layer_tests
