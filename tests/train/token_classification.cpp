// SPDX-License-Identifier: MIT
#include <graft/train/token_classification.hpp>

#include "support/objective_check.hpp"

namespace graft_test {

namespace {

const std::vector<std::string> names{"O", "B-PER", "I-PER", "B-LOC"};

example_list sentences() {
  return {{.ids = {1, 5, 6, 2}, .labels = {-100, 1, 2, -100}},
          {.ids = {1, 7, 8, 9, 2}, .labels = {-100, 0, -100, 3, -100}}};
}

// Outputs that choose these labels.
template <class C>
void choose(C& c, std::initializer_list<index_t> labels) {
  index_t row = 0;
  for (const index_t label : labels) {
    for (index_t j = 0; j < 4; ++j)
      c.outputs(row, j) = j == label ? 3 : 0;
    ++row;
  }
}

}  // namespace

TEST_CASE("token classification's loss is the mean over the tokens that are asked") {
  const token_classification what{names};
  objective_case c(what, sentences(), 9, 4);
  c.check_gradient(what);
  CHECK(what.weight(c.wanted) == 4);
  const auto r = c.loss(what);
  for (const index_t row : {0, 3, 4, 6, 8})
    for (index_t j = 0; j < 4; ++j)
      CHECK(r.gradient(row, j) == 0);
  CHECK(c.evaluated(what).loss == Approx(r.loss));
}

TEST_CASE("a labelling is judged by its spans") {
  const token_classification what{names};
  objective_case c(what, sentences(), 9, 4);
  choose(c, {3, 1, 2, 3, 1, 0, 1, 0, 1});  // what is not asked does not matter
  const evaluation e = c.evaluated(what);
  CHECK(e.scores.front().first == "f1");
  CHECK(e.score("precision") == 1);
  CHECK(e.score("recall") == 0.5);
  CHECK(e.score("f1") == Approx(2.0 / 3));
  CHECK(e.score("accuracy") == 0.75);
  CHECK(what.evaluate({}).score("f1") == 0);
}

TEST_CASE("every token has a label, and it is a class") {
  const token_classification what{names};
  CHECK_THROWS_WITH(what.check(example_list{{.ids = {1, 2}, .labels = {0}}}),
                    "graft: example 0: expected a label for each of 2 tokens, found 1");
  CHECK_THROWS_WITH(what.check(example_list{{.ids = {1}, .labels = {4}}}),
                    "graft: example 0: expected labels below 4 or -100, found 4");
}

}  // namespace graft_test
