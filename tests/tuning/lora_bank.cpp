// SPDX-License-Identifier: MIT
// tuning/lora_bank.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/lora_bank.hpp>

#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::lora_bank_tests {

namespace {

using namespace graft;
using graft::index_t;
using B = cpu<double>;
using bank_linear = lora_bank_layer<frozen<linear<B>>>;

static_assert(layer<bank_linear> && dense_layer<bank_linear>);
static_assert(std::is_same_v<gradient_t<bank_linear>, nothing>);
static_assert(trainable<lora_bank_layer<linear<B>>>);

void fill_normal(B::parameter& p, random_stream& random) {
  for (index_t i = 0; i < p.size(); ++i)
    p.data[i] = random.normal();
}

linear<B> random_linear(index_t in, index_t out, random_stream& random) {
  linear<B> l(in, out);
  fill_normal(l.weight, random);
  fill_normal(l.bias, random);
  return l;
}

double largest_difference(const B::const_view& a, const B::const_view& b) {
  double most = 0;
  for (index_t i = 0; i < a.rows; ++i)
    for (index_t j = 0; j < a.cols; ++j)
      most = std::max(most, std::abs(a(i, j) - b(i, j)));
  return most;
}

// A low-rank update and the plain lora layer that computes the same.
struct pair {
  lora_layer<frozen<linear<B>>> alone;
  row_update<B::const_view, double> update;
};
pair random_update(const linear<B>& base, int rank, index_t first, index_t rows,
                   random_stream& random) {
  lora_layer<frozen<linear<B>>> l(frozen{base}, lora{.rank = dynamic, .start_rank = rank});
  fill_normal(l.a, random);
  fill_normal(l.b, random);
  return {l, {first, rows, l.a, l.b, {}, l.scale()}};
}

}  // namespace

TEST_CASE("every row gets the update of its own stretch, and its input the gradient") {
  random_stream random(1);
  const linear<B> base = random_linear(7, 5, random);
  bank_linear bank(frozen{base}, lora_bank{});
  bank.placed(1);
  host_workspace memory;
  const layout rows = separate_rows(12);
  // Rows 3, 4 and 11 have none.
  const std::vector<pair> pairs{random_update(base, 2, 0, 3, random),
                                random_update(base, 8, 5, 4, random),
                                random_update(base, 1, 9, 2, random)};
  row_updates<B> updates;
  updates.of_place.resize(2);
  for (const pair& p : pairs)
    updates.of_place[1].push_back(p.update);
  const context<B> plain{memory, rows};
  const context<B> k{memory, rows, false, 0, 0, &updates};
  B::tensor x = plain.make(12, 7), dy = plain.make(12, 5);
  for (index_t i = 0; i < x.size(); ++i)
    x.data[i] = random.normal();
  for (index_t i = 0; i < dy.size(); ++i)
    dy.data[i] = random.normal();

  cache_t<bank_linear, input_wanted> c;
  const auto y = bank.forward<input_wanted>(x, c, k);
  const auto dx = bank.backward<input_wanted>(dy, c, static_cast<nothing*>(nullptr), k);
  cache_t<bank_linear, input_wanted> c0;
  const auto base_y = bank.forward<input_wanted>(x, c0, plain);
  const auto base_dx = bank.backward<input_wanted>(dy, c0, static_cast<nothing*>(nullptr), plain);
  for (const index_t i : {3, 4, 11}) {
    CHECK(largest_difference(y.rows_of(i, 1), base_y.rows_of(i, 1)) == 0);
    CHECK(largest_difference(dx.rows_of(i, 1), base_dx.rows_of(i, 1)) == 0);
  }
  for (const pair& p : pairs) {
    const auto [first, n] = std::pair{p.update.first, p.update.rows};
    INFO("rows from " << first);
    cache_t<lora_layer<frozen<linear<B>>>, input_wanted> one;
    const auto expected = p.alone.forward<input_wanted>(x, one, plain);
    const auto dx_expected =
        p.alone.backward<input_wanted>(dy, one, static_cast<nothing*>(nullptr), plain);
    CHECK(largest_difference(y.rows_of(first, n), expected.rows_of(first, n)) < 1e-12);
    CHECK(largest_difference(dx.rows_of(first, n), dx_expected.rows_of(first, n)) < 1e-12);
    CHECK(largest_difference(y.rows_of(first, n), base_y.rows_of(first, n)) > 0.1);
  }
}

TEST_CASE("an update beyond the rows of the batch is refused") {
  random_stream random(2);
  const linear<B> base = random_linear(3, 3, random);
  const bank_linear bank(frozen{base}, lora_bank{});
  host_workspace memory;
  const layout rows = separate_rows(4);
  row_updates<B> updates;
  const pair p = random_update(base, 1, 2, 3, random);
  updates.of_place = {{p.update}};
  const context<B> k{memory, rows, false, 0, 0, &updates};
  B::tensor x = k.make(4, 3);
  B::fill(x, 1);
  cache_t<bank_linear, input_wanted> c;
  CHECK_THROWS_WITH(bank.forward<input_wanted>(x, c, k),
                    "graft: lora_bank: expected updates of 4 rows, found one of the rows 2 to 4");
}

TEST_CASE("lora_bank goes around a layer that somebody trains") {
  random_stream random(3);
  using L = lora_bank_layer<toy_layer<B>>;
  L bank{toy_layer<B>(4)};
  fill_normal(bank.base.weight, random);
  host_workspace memory;
  const layout rows = separate_rows(3);
  auto g = make_gradient(bank);
  const context<B> k{memory, rows};
  B::tensor x = k.make(3, 4), dy = k.make(3, 4);
  B::fill(x, 2);
  B::fill(dy, 1);
  cache_t<L, training_demand> c;
  bank.forward<training_demand>(x, c, k);
  bank.backward<training_demand>(dy, c, &g.gradient, k);
  for (index_t j = 0; j < 4; ++j) {
    CHECK(g.gradient.base.weight(0, j) == 6);
    CHECK(g.gradient.base.bias(0, j) == 3);
  }
}

namespace {
struct everywhere {
  static constexpr recipe rules{on(at::linear | at::pooler, lora_bank{})};
};
}  // namespace

TEST_CASE("the places of a network are numbered in the order of its listing") {
  bert_classifier<B, everywhere> model(small_bert(bert_family::bert, 2), {"a", "b"});
  CHECK(model.parameters.size() == 0);
  const std::vector<bank_place> places = number_places(model.network);
  std::string paths;
  for (const bank_place& p : places)
    paths += p.path + " " + std::to_string(p.in) + " " + std::to_string(p.out) + "\n";
  std::string expected;
  for (const std::string layer : {"layer.0.", "layer.1."})
    for (const char* place :
         {"attention.query 8 8\n", "attention.key 8 8\n", "attention.value 8 8\n",
          "attention.output 8 8\n", "feed_forward.input 8 12\n", "feed_forward.output 12 8\n"})
      expected += layer + place;
  CHECK(paths == expected + "pooler 8 8\n");
  CHECK(model.network.pooler.dense.place == 12);
}

}  // namespace graft_test::lora_bank_tests
