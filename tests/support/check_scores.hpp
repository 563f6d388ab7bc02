// SPDX-License-Identifier: MIT
// Precision, recall and F1 against what they should be.
#pragma once

#include <graft/train/metrics.hpp>

#include "support/catch.hpp"

namespace graft_test {

inline void check_scores(const graft::class_scores& s, double precision, double recall, double f1) {
  CHECK(s.precision == Approx(precision).epsilon(1e-12));
  CHECK(s.recall == Approx(recall).epsilon(1e-12));
  CHECK(s.f1 == Approx(f1).epsilon(1e-12));
}

}  // namespace graft_test
