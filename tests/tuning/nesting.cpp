// SPDX-License-Identifier: MIT
// Decorations in decorations: what they ask of each other fits together, whatever stands on what.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::nesting_tests {

namespace {

using B = cpu<double>;
using enum placement;

const lora low{.rank = 2, .alpha = 3, .dropout = 0.2f};
const bottleneck narrow{.width = 3, .activation = activation::gelu, .scale = 2, .dropout = 0.2f};
const layout six_rows = sequences({1, 3, 2});

template <placement Where, class L>
bottleneck_layer<L, Where> with_narrow(L base) {
  return {std::move(base), narrow};
}

// Bare and training, so that dropout is met in every place.
template <class L>
void check_bare_and_training(const L& layer) {
  check_layer(layer, six_rows, false);
  check_layer(layer, six_rows, true);
}

}  // namespace

TEST_CASE("low-rank updates nest") {
  check_bare_and_training(lora_layer(lora_layer(frozen(linear<B>(5, 4)), low), low));
  check_bare_and_training(lora_layer(lora_layer(biases_only(toy_layer<B>(4)), low), low));
}

TEST_CASE("a decorated layer can be frozen and decorated again") {
  check_bare_and_training(lora_layer(frozen(lora_layer(linear<B>(5, 4), low)), low));
  check_bare_and_training(with_narrow<parallel>(frozen(with_narrow<after>(linear<B>(5, 4)))));
}

TEST_CASE("bottlenecks stand on low-rank updates") {
  check_bare_and_training(with_narrow<parallel>(lora_layer(frozen(linear<B>(5, 4)), low)));
  check_bare_and_training(with_narrow<after>(lora_layer(biases_only(linear<B>(5, 4)), low)));
  check_bare_and_training(with_narrow<before>(lora_layer(linear<B>(5, 4), low)));
}

TEST_CASE("bottlenecks stand on bottlenecks") {
  check_bare_and_training(with_narrow<after>(with_narrow<before>(frozen(linear<B>(5, 4)))));
  check_bare_and_training(with_narrow<before>(with_narrow<parallel>(frozen(toy_layer<B>(4)))));
  check_bare_and_training(
      with_narrow<parallel>(with_narrow<after>(with_narrow<before>(biases_only(linear<B>(5, 4))))));
}

TEST_CASE("bottlenecks nest in joins") {
  using norm = frozen<layer_norm<B>>;
  using join = add_norm<norm, at::attention_norm_t>;
  using once = bottleneck_join<join>;
  const bottleneck_join<once> twice(once(join{norm(layer_norm<B>(5))}, narrow), narrow);
  check_join(twice, six_rows, true);
}

TEST_CASE("what is dense stays dense until a bottleneck ends it") {
  using base = frozen<linear<B>>;
  STATIC_REQUIRE(dense_layer<lora_layer<lora_layer<base, 2>, dynamic>>);
  STATIC_REQUIRE(dense_layer<frozen<lora_layer<base, 2>>>);
  STATIC_REQUIRE(!dense_layer<bottleneck_layer<lora_layer<base, 2>, parallel>>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<frozen<lora_layer<linear<B>, 2>>>, nothing>);
}

}  // namespace graft_test::nesting_tests
