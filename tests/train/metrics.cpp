// SPDX-License-Identifier: MIT
// train/metrics.hpp
#include <graft/train/metrics.hpp>

#include <cmath>
#include <cstddef>

#include "support/catch.hpp"
#include "support/check_scores.hpp"

using namespace graft;
using graft_test::check_scores;

namespace {

confusion_matrix matrix(std::vector<std::vector<std::int64_t>> counts) {
  confusion_matrix m(counts.size());
  for (std::size_t truth = 0; truth < counts.size(); ++truth)
    for (std::size_t said = 0; said < counts.size(); ++said)
      for (std::int64_t n = 0; n < counts[truth][said]; ++n)
        m.add(static_cast<std::int32_t>(truth), static_cast<std::int32_t>(said));
  CHECK(m.counts == counts);
  return m;
}

// The fourth class is nobody's, the fifth is never predicted.
const std::vector<std::vector<std::int64_t>> five_classes{
    {8, 5, 6, 8, 0}, {6, 7, 2, 0, 0}, {2, 7, 8, 0, 0}, {0, 0, 0, 0, 0}, {7, 2, 3, 2, 0}};
const std::vector<std::vector<std::int64_t>> seldom_right{{1, 7, 2}, {6, 0, 5}, {3, 8, 1}};

// Too many examples to add one by one.
confusion_matrix large() {
  confusion_matrix m;
  m.counts = {
      {123456789, 2345678, 34567}, {9876543, 87654321, 765432}, {1234567, 7654321, 65432109}};
  return m;
}

}  // namespace

TEST_CASE("with two classes the scores are those of the second") {
  const evaluation e = evaluate_confusion(matrix({{50, 10}, {5, 35}}), 0.25);
  CHECK(e.loss == 0.25);
  CHECK(e.score("accuracy") == 0.85);
  CHECK(e.score("precision") == Approx(35.0 / 45));
  CHECK(e.score("recall") == Approx(35.0 / 40));
  CHECK(e.score("f1") == Approx(2 * 35.0 / (45 + 40)));
  CHECK(e.confusion.total() == 100);
}

TEST_CASE("with more classes the scores are the unweighted means of the classes'") {
  const evaluation e = evaluate_confusion(matrix({{2, 1, 0}, {0, 3, 1}, {1, 0, 8}}), 0);
  CHECK(e.score("accuracy") == Approx(13.0 / 16));
  CHECK(e.score("precision") == Approx((2.0 / 3 + 3.0 / 4 + 8.0 / 9) / 3));
  CHECK(e.score("recall") == Approx((2.0 / 3 + 3.0 / 4 + 8.0 / 9) / 3));
  CHECK(e.score("f1") == Approx((4.0 / 6 + 6.0 / 8 + 16.0 / 18) / 3));
}

TEST_CASE("a class that nobody has and nobody predicts counts with 0") {
  const evaluation e = evaluate_confusion(matrix({{3, 0, 0}, {1, 4, 0}, {0, 0, 0}}), 0);
  CHECK(e.score("precision") == Approx((3.0 / 4 + 1) / 3));
  CHECK(e.score("recall") == Approx((1 + 4.0 / 5) / 3));
  CHECK(e.score("f1") == Approx((6.0 / 7 + 8.0 / 9) / 3));
  const class_scores absent = scores_of(e.confusion, 2);
  CHECK(absent.precision == 0);
  CHECK(absent.recall == 0);
  CHECK(absent.f1 == 0);
}

TEST_CASE("no examples have scores of 0") {
  for (const std::size_t classes : {0u, 1u, 2u, 3u}) {
    const evaluation e = evaluate_confusion(confusion_matrix(classes), 0);
    CHECK(e.score("accuracy") == 0);
    CHECK(e.score("f1") == 0);
  }
}

TEST_CASE("a class has as many examples as its row and as many predictions as its column") {
  const confusion_matrix m = matrix({{2, 1, 0}, {0, 3, 1}, {4, 0, 8}});
  CHECK(m.actual(0) == 3);
  CHECK(m.actual(2) == 12);
  CHECK(m.predicted(0) == 6);
  CHECK(m.predicted(2) == 9);
}

TEST_CASE("scores follow from counts and are 0 where undefined") {
  check_scores(scores_of(3, 4, 12), 0.75, 0.25, 0.375);
  check_scores(scores_of(1, 1, 2), 1, 0.5, 2.0 / 3);
  check_scores(scores_of(1, 2, 1), 0.5, 1, 2.0 / 3);
  check_scores(scores_of(0, 4, 0), 0, 0, 0);
  check_scores(scores_of(0, 0, 5), 0, 0, 0);
  check_scores(scores_of(0, 4, 5), 0, 0, 0);
  check_scores(scores_of(0, 0, 0), 0, 0, 0);
}

// scikit-learn 1.9.1: precision_recall_fscore_support(labels=all or all but 0, zero_division=0).
TEST_CASE("macro scores are scikit-learn's over all classes or without the first") {
  check_scores(macro_scores(matrix(five_classes)), 0.22044241037376047, 0.2467102396514161,
               0.23066666666666666);
  check_scores(macro_scores(matrix(five_classes), 1), 0.18859649122807015, 0.23431372549019608,
               0.20833333333333331);
  check_scores(macro_scores(matrix(seldom_right)), 0.075, 0.061111111111111116,
               0.06666666666666667);
  check_scores(macro_scores(matrix({{913, 8}, {41, 3}})), 0.6148751667619592, 0.529747803770605,
               0.5414787878787879);
  check_scores(macro_scores(matrix({{913, 8}, {41, 3}}), 1), 3.0 / 11, 3.0 / 44, 6.0 / 55);
  check_scores(macro_scores(large()), 0.9343168224388675, 0.917739715892619, 0.9246380439130958);
}

// scikit-learn 1.9.1, as above.
TEST_CASE("micro scores are scikit-learn's over all classes or without the first") {
  check_scores(micro_scores(matrix(five_classes)), 23.0 / 73, 23.0 / 73, 23.0 / 73);
  check_scores(micro_scores(matrix(five_classes), 1), 0.3, 0.32608695652173914, 0.3125);
  check_scores(micro_scores(matrix(seldom_right), 1), 1.0 / 23, 1.0 / 23, 1.0 / 23);
  check_scores(micro_scores(large(), 1), 0.9341007176018261, 0.8868545401184109,
               0.9098647084499847);
}

// scikit-learn 1.9.1: matthews_corrcoef.
TEST_CASE("Matthews' correlation is scikit-learn's for any number of classes") {
  const auto near = [](double value) { return Approx(value).epsilon(1e-12); };
  CHECK(matthews(matrix({{913, 8}, {41, 3}})) == near(0.11691507890687662));
  CHECK(matthews(matrix(five_classes)) == near(0.10785830035664093));
  CHECK(matthews(matrix(seldom_right)) == near(-0.4143847009088017));
  CHECK(matthews(large()) == near(0.887635253479238));
}

TEST_CASE("Matthews' correlation is 1 for all right, -1 for two classes swapped") {
  CHECK(matthews(matrix({{3, 0, 0}, {0, 7, 0}, {0, 0, 2}})) == 1);
  CHECK(matthews(matrix({{0, 5}, {9, 0}})) == -1);
}

TEST_CASE("Matthews' correlation is 0 where one class is all there is or all that is predicted") {
  CHECK(matthews(matrix({{4, 3}, {0, 0}})) == 0);
  CHECK(matthews(matrix({{0, 4}, {0, 3}})) == 0);
  CHECK(matthews(matrix({{4, 0}, {0, 0}})) == 0);
  CHECK(matthews(matrix({{4}})) == 0);
}

TEST_CASE("averages and Matthews' correlation of no examples are 0") {
  for (const std::size_t classes : {0u, 1u, 2u, 3u}) {
    const confusion_matrix m(classes);
    for (const std::size_t first : {0u, 1u}) {
      check_scores(macro_scores(m, first), 0, 0, 0);
      check_scores(micro_scores(m, first), 0, 0, 0);
    }
    CHECK(matthews(m) == 0);
  }
}

TEST_CASE("perplexity is the number of equally likely tokens that cost as much") {
  CHECK(perplexity(0) == 1);
  CHECK(perplexity(std::log(30522.0)) == Approx(30522).epsilon(1e-12));
}
