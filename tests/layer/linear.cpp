// SPDX-License-Identifier: MIT
// layer/linear.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/linear.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("a linear layer has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  using B = TestType;
  random_stream random(3);
  for (int shape = 0; shape < 4; ++shape) {
    const auto size = [&] { return static_cast<index_t>(1 + random.below(9)); };
    const index_t in = size(), out = size(), rows = size();
    INFO("[" << rows << ", " << in << "] -> " << out);
    check_layer(linear<B>(in, out), separate_rows(rows));
    check_layer(linear<B>(in, out, false), separate_rows(rows));
  }
}

TEST_CASE("a linear layer computes x Wᵀ + b") {
  using B = reference<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> l(2, 3);
  for (index_t i = 0; i < 6; ++i)
    l.weight.data[i] = static_cast<double>(i + 1);
  l.bias(0, 2) = 10;
  auto x = k.make(1, 2);
  x(0, 0) = 1, x(0, 1) = -2;
  cache_t<linear<B>, nothing_wanted> none;
  CHECK(values_of(l.forward<nothing_wanted>(x, none, k)) == std::vector<double>{-3, -5, 3});
}

TEST_CASE("a linear layer refuses an input of another width") {
  using B = reference<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  const linear<B> l(2, 3);
  cache_t<linear<B>, nothing_wanted> none;
  CHECK_THROWS_AS(l.forward<nothing_wanted>(k.make(1, 3), none, k), shape_error);
}

TEST_CASE("a linear layer keeps its input for the gradient of its weight alone") {
  using L = linear<reference<float>>;
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, nothing_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, biases_wanted>>);
  STATIC_REQUIRE(!std::is_empty_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(dense_layer<L>);
  STATIC_REQUIRE(dense_layer<L::frozen_form>);
}

}  // namespace graft_test
