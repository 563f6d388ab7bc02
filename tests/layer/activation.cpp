// SPDX-License-Identifier: MIT
// layer/activation.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/activation.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("every activation has the gradient of its function", "", cpu<double>,
                   reference<double>) {
  using enum activation;
  for (activation f : {identity, relu, gelu, gelu_tanh, silu, graft::activation::tanh}) {
    INFO(name_of(f));
    check_layer(activation_layer<TestType>{f}, separate_rows(5), 7);
  }
}

TEST_CASE("an activation keeps its input only where a gradient must pass it") {
  using L = activation_layer<reference<float>>;
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(!std::is_empty_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, nothing>);
}

}  // namespace graft_test
