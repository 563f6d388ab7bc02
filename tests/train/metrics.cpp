// SPDX-License-Identifier: MIT
// train/metrics.hpp
#include <graft/train/metrics.hpp>

#include <cstddef>

#include "support/catch.hpp"

using namespace graft;

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

}  // namespace

TEST_CASE("with two classes the scores are those of the second") {
  const evaluation e = evaluate_confusion(matrix({{50, 10}, {5, 35}}), 0.25);
  CHECK(e.loss == 0.25);
  CHECK(e.accuracy == 0.85);
  CHECK(e.precision == Approx(35.0 / 45));
  CHECK(e.recall == Approx(35.0 / 40));
  CHECK(e.f1 == Approx(2 * 35.0 / (45 + 40)));
  CHECK(e.confusion.total() == 100);
}

TEST_CASE("with more classes the scores are the unweighted means of the classes'") {
  const evaluation e = evaluate_confusion(matrix({{2, 1, 0}, {0, 3, 1}, {1, 0, 8}}), 0);
  CHECK(e.accuracy == Approx(13.0 / 16));
  CHECK(e.precision == Approx((2.0 / 3 + 3.0 / 4 + 8.0 / 9) / 3));
  CHECK(e.recall == Approx((2.0 / 3 + 3.0 / 4 + 8.0 / 9) / 3));
  CHECK(e.f1 == Approx((4.0 / 6 + 6.0 / 8 + 16.0 / 18) / 3));
}

TEST_CASE("a class that nobody has and nobody predicts counts with 0") {
  const evaluation e = evaluate_confusion(matrix({{3, 0, 0}, {1, 4, 0}, {0, 0, 0}}), 0);
  CHECK(e.precision == Approx((3.0 / 4 + 1) / 3));
  CHECK(e.recall == Approx((1 + 4.0 / 5) / 3));
  CHECK(e.f1 == Approx((6.0 / 7 + 8.0 / 9) / 3));
  const class_scores absent = scores_of(e.confusion, 2);
  CHECK(absent.precision == 0);
  CHECK(absent.recall == 0);
  CHECK(absent.f1 == 0);
}

TEST_CASE("no examples have scores of 0") {
  for (const std::size_t classes : {0u, 1u, 2u, 3u}) {
    const evaluation e = evaluate_confusion(confusion_matrix(classes), 0);
    CHECK(e.accuracy == 0);
    CHECK(e.f1 == 0);
  }
}
