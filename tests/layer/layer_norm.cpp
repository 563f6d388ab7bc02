// SPDX-License-Identifier: MIT
// layer/layer_norm.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/layer_norm.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("a layer norm has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  random_stream random(4);
  for (int shape = 0; shape < 4; ++shape) {
    const index_t width = static_cast<index_t>(3 + random.below(8));
    const index_t rows = static_cast<index_t>(1 + random.below(6));
    INFO("[" << rows << ", " << width << "]");
    check_layer(layer_norm<TestType>(width), separate_rows(rows));
  }
  check_layer(layer_norm<TestType>(5, 0.5), separate_rows(3));
}

TEST_CASE("a layer norm makes every row's mean 0 and variance 1, then scales and shifts") {
  using B = reference<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  layer_norm<B> norm(2);
  norm.weight(0, 0) = 2, norm.weight(0, 1) = 3, norm.bias(0, 1) = 1;
  auto x = k.make(1, 2);
  x(0, 0) = 5, x(0, 1) = 1;
  cache_t<layer_norm<B>, nothing_wanted> none;
  const auto y = norm.forward<nothing_wanted>(x, none, k);
  CHECK(y(0, 0) == Approx(2));
  CHECK(y(0, 1) == Approx(-2));
}

TEST_CASE("a layer norm keeps nothing for its bias alone") {
  using L = layer_norm<reference<float>>;
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, only_biases_wanted>>);
  STATIC_REQUIRE(!std::is_empty_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L::frozen_form, parameters_wanted>>);
}

}  // namespace graft_test
