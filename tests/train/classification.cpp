// SPDX-License-Identifier: MIT
#include <graft/train/classification.hpp>

#include "support/objective_check.hpp"

namespace graft_test {

namespace {

example_list labelled(std::vector<std::int32_t> labels) {
  example_list data(labels.size());
  for (std::size_t i = 0; i < labels.size(); ++i)
    data[i] = {.ids = {1, 2}, .label = labels[i]};
  return data;
}

}  // namespace

TEST_CASE("classification's loss has its gradient, weighted and smoothed") {
  const classification what{3, {.class_weights = {1, 2, 0.5}, .smoothing = 0.1}};
  objective_case c(what, labelled({0, 2, 1, 1}), 4, 3);
  c.check_gradient(what);
  CHECK(what.weight(c.wanted) == 5.5);
  CHECK(what.separable());
}

TEST_CASE("an evaluation of classes has neither weights nor smoothing") {
  const classification plain{3}, weighted{3, {.class_weights = {1, 2, 0.5}, .smoothing = 0.1}};
  objective_case c(plain, labelled({0, 2, 1, 1}), 4, 3);
  const evaluation e = c.evaluated(weighted);
  CHECK(e.loss == Approx(c.loss(plain).loss).epsilon(1e-12));
  CHECK(e.loss != Approx(c.loss(weighted).loss).epsilon(1e-3));
  CHECK(e.confusion.total() == 4);
  CHECK(e.confusion.actual(1) == 2);
  std::vector<std::string> names;
  for (const auto& [name, value] : e.scores)
    names.push_back(name);
  CHECK(names == std::vector<std::string>{"accuracy", "precision", "recall", "f1", "matthews"});
  CHECK(plain.evaluate({}).loss == 0);
}

TEST_CASE("labels and weights that do not fit the classes are refused") {
  CHECK_THROWS_WITH(classification{2}.check(labelled({0, 1, 2})),
                    "graft: example 2: expected a label below 2, found 2");
  CHECK_THROWS_WITH(classification{2}.check(labelled({-1})),
                    "graft: example 0: expected a label below 2, found -1");
  const classification weights{2, {.class_weights = {1, 2, 3}}};
  CHECK_THROWS_AS(weights.check(labelled({0})), shape_error);
}

TEST_CASE("what makes two classifications differ is told") {
  const classification a{2}, b{2, {.smoothing = 0.1}}, c{2, {.class_weights = {1, 2}}};
  CHECK(a.numbers() != b.numbers());
  CHECK(a.numbers() != c.numbers());
}

}  // namespace graft_test
