// SPDX-License-Identifier: MIT
// layer/add_norm.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("the joins have the gradients of their formulas", "", cpu<double>,
                   reference<double>) {
  using B = TestType;
  using norm = layer_norm<B>;
  check_join(add<B>{5}, separate_rows(3));
  check_join(add_norm<norm, at::attention_norm_t>{norm(6)}, separate_rows(4));
  check_join(add_norm<frozen<norm>, at::attention_norm_t>{frozen(norm(6))}, separate_rows(4));
  check_join(add_norm<biases_only<norm>, at::attention_norm_t>{biases_only(norm(6))},
             separate_rows(4));
}

TEST_CASE("the joins refuse a residual of another width") {
  using B = reference<double>;
  using norm = layer_norm<B>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  const add<B> sum{4};
  const add_norm<norm, at::attention_norm_t> both{norm(4)};
  cache_t<add<B>, nothing_wanted> c;
  cache_t<add_norm<norm, at::attention_norm_t>, nothing_wanted> d;
  CHECK_THROWS_AS(sum.join<nothing_wanted>(k.make(1, 4), k.make(1, 3), c, k), shape_error);
  CHECK_THROWS_AS(both.join<nothing_wanted>(k.make(1, 4), k.make(1, 3), d, k), shape_error);
}

TEST_CASE("a join over a frozen norm keeps nothing for parameters alone") {
  using norm = layer_norm<reference<float>>;
  using J = add_norm<frozen<norm>, at::attention_norm_t>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<J>, nothing>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<J, parameters_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<add<reference<float>>, all_wanted>>);
}

}  // namespace graft_test
