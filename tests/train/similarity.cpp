// SPDX-License-Identifier: MIT
#include <graft/train/similarity.hpp>

#include "support/objective_check.hpp"

namespace graft_test {

namespace {

example_list pairs(std::vector<double> targets) {
  example_list data;
  for (const double target : targets)
    data.push_back({.ids = {1, 5, 2}, .target = target, .second = {1, 6, 7, 2}});
  return data;
}

}  // namespace

TEST_CASE("the losses of similarity have their gradients") {
  const similarity cosine, ranking{.form = similarity::form_t::ranking, .scale = 3};
  objective_case c(cosine, pairs({0.5, -1, 0.2}), 6, 4);
  c.check_gradient(cosine);
  c.check_gradient(ranking);
  CHECK(cosine.weight(c.wanted) == 3);
  CHECK(cosine.separable());
  CHECK_FALSE(ranking.separable());
  CHECK(c.evaluated(cosine).loss == Approx(c.loss(cosine).loss).epsilon(1e-12));
  CHECK(c.evaluated(ranking).loss == Approx(c.loss(ranking).loss).epsilon(1e-12));
}

TEST_CASE("pairs follow one another in a batch, under numbers of their own") {
  const similarity what;
  objective_case c(what, pairs({1, 0}), 4, 2);
  CHECK(c.batch.ids == std::vector<std::int32_t>{1, 5, 2, 1, 6, 7, 2, 1, 5, 2, 1, 6, 7, 2});
  CHECK(c.batch.rows.sequences() == 4);
  CHECK(c.batch.rows.example(2) == 1);
  CHECK(c.batch.rows.example(1) != c.batch.rows.example(0));
}

TEST_CASE("similarity is judged by cosines, ranking by who is closest") {
  const similarity cosine, ranking{.form = similarity::form_t::ranking};
  objective_case c(cosine, pairs({1, 0, -1}), 6, 2);
  const double vectors[] = {1, 0, 2, 0, /**/ 0, 1, 1, 1, /**/ -1, -1, 0, -1};
  std::copy(vectors, vectors + 12, c.outputs.data);
  const double r = std::sqrt(0.5);  // the cosines are 1, r and r
  const evaluation e = c.evaluated(cosine);
  CHECK(e.loss == Approx((r * r + (r + 1) * (r + 1)) / 3));
  CHECK(e.scores.front().first == "spearman");
  CHECK(e.score("spearman") == Approx(std::sqrt(3) / 2));
  CHECK(c.evaluated(ranking).score("accuracy") == 1);
  std::swap(c.outputs.data[6], c.outputs.data[10]);
  std::swap(c.outputs.data[7], c.outputs.data[11]);
  CHECK(c.evaluated(ranking).score("accuracy") == Approx(1.0 / 3));
}

TEST_CASE("a pair has a second text, and a target that a cosine can be") {
  CHECK_THROWS_WITH(similarity{}.check(example_list{{.ids = {1}}}),
                    "graft: example 0: expected a second text, found none");
  CHECK_THROWS_WITH(similarity{}.check(pairs({0, 1.5})),
                    "graft: example 1: expected a target from -1 to 1, found 1.500000");
  const similarity ranking{.form = similarity::form_t::ranking};
  ranking.check(pairs({5}));  // which has no target
}

}  // namespace graft_test
