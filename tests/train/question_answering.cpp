// SPDX-License-Identifier: MIT
#include <graft/train/question_answering.hpp>

#include "support/objective_check.hpp"

namespace graft_test {

namespace {

// A question of 2 tokens and a text of 5: all of them, or the first 3 and the last 3. The answer is
// the text's tokens 3 and 4.
example whole(std::uint32_t question = 0) {
  return {.ids = {1, 20, 21, 2, 30, 31, 32, 33, 34, 2},
          .answer = {7, 8, question, 4, 5, 0, 3, 4}};
}
example head(std::uint32_t question = 0) {
  return {.ids = {1, 20, 21, 2, 30, 31, 32, 2}, .answer = {0, 0, question, 4, 3, 0, 3, 4}};
}
example tail(std::uint32_t question = 0) {
  return {.ids = {1, 20, 21, 2, 32, 33, 34, 2}, .answer = {5, 6, question, 4, 3, 2, 3, 4}};
}

template <class C>
void zero(C& c) {
  std::fill(c.outputs.data, c.outputs.data + c.outputs.size(), 0);
}

}  // namespace

TEST_CASE("question answering's loss is over the tokens of each sequence, with its gradient") {
  const question_answering what;
  objective_case c(what, {whole(), head(1), tail(2)}, 10 + 8 + 8, 2);
  c.check_gradient(what);
  CHECK(what.weight(c.wanted) == 3);

  // By hand: two cross-entropies for each example.
  double sum = 0;
  index_t row = 0;
  for (const example& e : {whole(), head(1), tail(2)}) {
    const auto n = static_cast<index_t>(e.ids.size());
    for (index_t column = 0; column < 2; ++column) {
      double all = 0;
      for (index_t i = 0; i < n; ++i)
        all += std::exp(c.outputs(row + i, column));
      sum += std::log(all) - c.outputs(row + (column ? e.answer.last : e.answer.first), column);
    }
    row += n;
  }
  CHECK(c.loss(what).loss == Approx(sum / 6).epsilon(1e-12));
  CHECK(c.evaluated(what).loss == Approx(sum / 6).epsilon(1e-12));
}

TEST_CASE("the best answer is a stretch of the text, not too long") {
  const question_answering what;
  objective_case c(what, {whole()}, 10, 2);
  zero(c);
  c.outputs(2, 0) = 9;  // in the question
  c.outputs(4, 0) = 3;
  c.outputs(8, 1) = 3;
  c.outputs(3, 1) = 9;
  const answer_place at = whole().answer;
  const found_answer far = best_answer(c.outputs, 0, at, 5), near = best_answer(c.outputs, 0, at, 4);
  CHECK(far.first == 0);
  CHECK(far.last == 4);
  CHECK(far.score == 6);
  CHECK(far.none == 0);
  CHECK(near.last - near.first < 4);
  CHECK(near.score == 3);
}

TEST_CASE("the stretches of one question are judged together") {
  const question_answering what;
  objective_case c(what, {head(), tail()}, 16, 2);
  zero(c);
  c.outputs(5, 0) = c.outputs(5, 1) = 1;       // token 1, in the first stretch
  c.outputs(8 + 5, 0) = c.outputs(8 + 6, 1) = 2;  // tokens 3 and 4, in the second
  CHECK(c.evaluated(what).score("token_exact_match") == 1);
  CHECK(c.evaluated(what).score("token_f1") == 1);
  c.outputs(8 + 5, 0) = 0;
  c.outputs(8 + 6, 0) = 2;  // token 4 alone: precision 1, recall 1/2
  CHECK(c.evaluated(what).score("token_exact_match") == 0);
  CHECK(c.evaluated(what).score("token_f1") == Approx(2.0 / 3));
  c.outputs(5, 0) = c.outputs(5, 1) = 5;
  CHECK(c.evaluated(what).score("token_f1") == 0);
}

TEST_CASE("where a question may have no answer, none is one") {
  const question_answering sure, unsure{.unanswerable = true};
  example none = head(4);
  none.answer.true_first = none.answer.true_last = -1;
  objective_case c(unsure, {none, none, tail(5)}, 24, 2);
  zero(c);
  c.outputs(0, 0) = c.outputs(8, 0) = 1;  // "not here", of both stretches of question 4
  c.outputs(16 + 5, 0) = c.outputs(16 + 6, 1) = 2;
  CHECK(c.evaluated(unsure).score("token_exact_match") == 1);
  CHECK(c.evaluated(unsure).score("token_f1") == 1);
  CHECK(c.evaluated(sure).score("token_exact_match") == 0.5);
  CHECK(c.evaluated(sure).score("token_f1") == 0.5);
  c.outputs(0, 0) = -1;  // one stretch says that there is something
  CHECK(c.evaluated(unsure).score("token_exact_match") == 0.5);
}

TEST_CASE("an answer that no stretch holds whole is there all the same") {
  const question_answering unsure{.unanswerable = true};
  objective_case c(unsure, {head()}, 8, 2);
  zero(c);
  c.outputs(0, 0) = 1;  // "not here"
  CHECK(c.evaluated(unsure).score("token_f1") == 0);
}

TEST_CASE("an answer lies within its example, and so does the text") {
  const question_answering what;
  const auto refused = [&](answer_place at) {
    example e = head();
    e.answer = at;
    what.check(example_list{e});
  };
  CHECK_THROWS_WITH(refused({3, 8, 0, 4, 3, 0}),
                    "graft: example 0: expected an answer within 8 tokens, found 3 to 8");
  CHECK_THROWS_AS(refused({3, 2, 0, 4, 3, 0}), input_error);
  CHECK_THROWS_WITH(refused({0, 0, 0, 4, 5, 0}),
                    "graft: example 0: expected the text's tokens within 8, found 5 from 4 on");
}

}  // namespace graft_test
