// SPDX-License-Identifier: MIT
// layer/dropout.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/dropout.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test::dropout_tests {

TEMPLATE_TEST_CASE("dropout draws in backward the mask of its forward", "", cpu<double>,
                   reference<double>) {
  const graft::dropout<TestType> drop{0.4, 17};
  check_layer(drop, sequences({1, 4, 3}), 6, true);
  check_layer(drop, sequences({1, 4, 3}), 6, false);
}

namespace {

using B = cpu<double>;

std::vector<double> dropped(const graft::dropout<B>& drop, const layout& rows,
                            const context<B>& k) {
  auto ones = k.make(rows.rows(), 9);
  B::fill(ones, 1);
  return values_of(drop.apply(ones, k));
}

}  // namespace

TEST_CASE("dropout keeps or doubles at rate one half, and only while training") {
  host_workspace memory;
  const layout rows = sequences({40});
  const graft::dropout<B> drop{0.5, 3};
  const std::vector<double> y = dropped(drop, rows, {memory, rows, true});
  const auto zeros = std::count(y.begin(), y.end(), 0.0),
             twos = std::count(y.begin(), y.end(), 2.0);
  CHECK(zeros + twos == 360);
  CHECK(std::abs(zeros - 180) < 40);
  const std::vector<double> all(360, 1.0);
  CHECK(dropped(drop, rows, {memory, rows, false}) == all);
  CHECK(dropped({0.0, 3}, rows, {memory, rows, true}) == all);
}

TEST_CASE("dropout draws another mask for another seed, step and place, the same for the same") {
  host_workspace memory;
  const layout rows = sequences({6});
  const context<B> k{memory, rows, true, 1, 2};
  const std::vector<double> y = dropped({0.5, 3}, rows, k);
  CHECK(dropped({0.5, 3}, rows, k) == y);
  CHECK(dropped({0.5, 4}, rows, k) != y);
  CHECK(dropped({0.5, 3}, rows, {memory, rows, true, 2, 2}) != y);
  CHECK(dropped({0.5, 3}, rows, {memory, rows, true, 1, 3}) != y);
}

TEST_CASE("dropout draws an example's mask whatever the batch around it") {
  host_workspace memory;
  layout one, two;
  one.append(3, 8);
  two.append(2, 1);
  two.append(3, 8);
  const auto alone = dropped({0.5, 3}, one, {memory, one, true});
  const auto behind = dropped({0.5, 3}, two, {memory, two, true});
  CHECK(std::vector<double>(behind.begin() + 18, behind.end()) == alone);
}

TEST_CASE("dropout leaves an input alone that somebody else holds") {
  host_workspace memory;
  const layout rows = sequences({6});
  const context<B> k{memory, rows, true};
  const auto x = random_tensor<B>(memory, 6, 9, 1);
  const auto before = values_of(x);
  graft::dropout<B>{0.5, 3}.apply(x, k);
  CHECK(values_of(x) == before);
}

TEST_CASE("dropout refuses a batch with another number of rows") {
  host_workspace memory;
  const layout rows = sequences({6});
  const context<B> k{memory, rows, true};
  CHECK_THROWS_AS((graft::dropout<B>{0.5, 3}.apply(k.make(5, 2), k)), shape_error);
}

}  // namespace graft_test::dropout_tests
