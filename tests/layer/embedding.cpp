// SPDX-License-Identifier: MIT
// layer/embedding.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/embedding.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

using ids = std::span<const std::int32_t>;

TEMPLATE_TEST_CASE("an embedding has the gradient of its table, summed over equal ids", "",
                   cpu<double>, reference<double>) {
  embedding<TestType> table(7, 3);
  const std::vector<std::int32_t> rows{4, 0, 4, 6, 4, 1};
  check_network(table, ids(rows), separate_rows(6));
}

TEST_CASE("an embedding refuses an id outside its table") {
  using B = reference<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  const embedding<B> table(7, 3);
  cache_t<embedding<B>, nothing_wanted> none;
  for (std::int32_t id : {-1, 7}) {
    const std::vector<std::int32_t> one{id};
    CHECK_THROWS_AS(table.forward<nothing_wanted>(ids(one), none, k), input_error);
  }
}

TEST_CASE("an embedding keeps its ids only where its table is trained") {
  using L = embedding<reference<float>>;
  STATIC_REQUIRE(!std::is_empty_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L, biases_wanted>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<L::frozen_form, parameters_wanted>>);
}

}  // namespace graft_test
