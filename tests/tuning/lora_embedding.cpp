// SPDX-License-Identifier: MIT
// tuning/lora_embedding.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora_embedding.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

using id_span = std::span<const std::int32_t>;
const std::vector<std::int32_t> some{4, 0, 4, 6, 4, 1};

}  // namespace

TEMPLATE_TEST_CASE("a low-rank update of a table has the gradients of its formula", "",
                   cpu<double>) {
  using B = TestType;
  const auto scaling = GENERATE(lora_scaling::over_rank, lora_scaling::over_root);
  const lora spec{.rank = 2, .alpha = 3, .dropout = 0.5f, .scaling = scaling};
  lora_table<frozen<embedding<B>>, 2> over_frozen(frozen(embedding<B>(7, 3)), spec);
  check_network(over_frozen, id_span(some), separate_rows(6), true);
  lora_table over_trained(embedding<B>(7, 3), spec);
  check_network(over_trained, id_span(some), separate_rows(6), true);
}

TEST_CASE("a low-rank update of a table adds s · A[id] Bᵀ to the row of an id") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(2);
  const context<B> k{memory, rows};
  embedding<B> table(3, 2);
  table.weight(2, 0) = 10, table.weight(2, 1) = 20;
  lora_table l(table, lora{.rank = 2, .alpha = 8});
  l.a(2, 0) = 1, l.a(2, 1) = 3;
  l.b(0, 0) = 5, l.b(0, 1) = 7, l.b(1, 0) = -1, l.b(1, 1) = 0;
  cache_t<decltype(l), nothing_wanted> none;
  const std::vector<std::int32_t> two{2, 0};
  const auto y = l.forward<nothing_wanted>(id_span(two), none, k);
  CHECK(values_of(y) == std::vector<double>{10 + 4 * (5 + 21), 20 + 4 * -1, 0, 0});
  CHECK_THROWS_AS(l.forward<nothing_wanted>(id_span(std::vector<std::int32_t>{3}), none, k),
                  input_error);
}

TEST_CASE("a fresh low-rank update of a table is zero in A and normal in B") {
  using B = cpu<double>;
  random_stream random(3);
  const lora_table<frozen<embedding<B>>> l(frozen(embedding<B>(50, 40)), lora{.rank = 30}, random);
  CHECK(l.rank() == 30);
  CHECK(l.entries() == 50);
  CHECK(l.width() == 40);
  CHECK(values_of<const double>(l.a) == std::vector<double>(50 * 30, 0.0));
  double sum = 0, squares = 0;
  for (double v : values_of<const double>(l.b))
    sum += v, squares += v * v;
  CHECK(std::abs(sum / 1200) < 0.1);
  CHECK(squares / 1200 == Approx(1).margin(0.1));
}

TEST_CASE("a low-rank update of a table keeps no more than its ids") {
  using L = lora_table<frozen<embedding<cpu<float>>>, 4>;
  STATIC_REQUIRE(table_layer<L>);
  STATIC_REQUIRE(sizeof(cache_t<L, parameters_wanted>) <= 2 * sizeof(id_span));
  STATIC_REQUIRE(!std::is_empty_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(sizeof(cache_t<L, biases_wanted>) == 1);
}

TEST_CASE("the rank of a table's update may be renumbered where it is dynamic") {
  using B = cpu<double>;
  lora_table<embedding<B>> l(embedding<B>(5, 3), lora{.rank = 2});
  l.renumber({{"rank", 4}, {"alpha", 6}});
  CHECK(l.a.cols == 4);
  CHECK(l.b.cols == 4);
  CHECK(l.scale() == 1.5);
  lora_table<embedding<B>, 2> fixed(embedding<B>(5, 3), lora{.rank = 2});
  CHECK_THROWS_AS(fixed.renumber({{"rank", 4}}), shape_error);
}

}  // namespace graft_test
