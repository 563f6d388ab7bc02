// SPDX-License-Identifier: MIT
#include <graft/train/regression.hpp>

#include "support/objective_check.hpp"

namespace graft_test {

namespace {

example_list with_targets(std::vector<double> targets) {
  example_list data(targets.size());
  for (std::size_t i = 0; i < targets.size(); ++i)
    data[i] = {.ids = {1, 2}, .target = targets[i]};
  return data;
}

}  // namespace

TEST_CASE("regression's loss is the mean squared error, with its gradient") {
  const regression what;
  objective_case c(what, with_targets({0.5, -1, 2}), 3, 1);
  c.check_gradient(what);
  double sum = 0;
  for (index_t i = 0; i < 3; ++i)
    sum += std::pow(c.outputs(i, 0) - c.wanted.targets[static_cast<std::size_t>(i)], 2);
  CHECK(c.loss(what).loss == Approx(sum / 3));
  CHECK(what.weight(c.wanted) == 3);
}

TEST_CASE("a regression is judged by error and correlation") {
  const regression what;
  objective_case c(what, with_targets({1, 2, 3, 4}), 4, 1);
  const double found[] = {2, 4, 6, 5};
  std::copy(found, found + 4, c.outputs.data);
  const evaluation e = c.evaluated(what);
  CHECK(e.loss == Approx((1 + 4 + 9 + 1) / 4.0));
  CHECK(e.scores.front().first == "pearson");
  CHECK(e.score("pearson") == Approx(5.5 / std::sqrt(5 * 8.75)));
  CHECK(e.score("spearman") == Approx(0.8));
  CHECK(what.evaluate({}).loss == 0);
}

TEST_CASE("a target is a finite number") {
  CHECK_THROWS_WITH(regression{}.check(with_targets({0, INFINITY})),
                    "graft: example 1: expected a finite target, found inf");
}

}  // namespace graft_test
