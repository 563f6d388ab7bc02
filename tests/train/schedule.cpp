// SPDX-License-Identifier: MIT
// train/schedule.hpp
#include <graft/train/schedule.hpp>

#include <cmath>

#include "support/catch.hpp"

using graft::schedule;

TEST_CASE("a rate falls linearly to nothing") {
  const schedule s{.form = schedule::shape::linear, .warmup = 0};
  CHECK(s.factor(0, 10) == 1);
  CHECK(s.factor(5, 10) == 0.5);
  CHECK(s.factor(9, 10) == Approx(0.1));
  CHECK(s.factor(10, 10) == 0);
  CHECK(s.factor(99, 10) == 0);
}

TEST_CASE("a rate falls as half a cosine") {
  const schedule s{.form = schedule::shape::cosine, .warmup = 0};
  CHECK(s.factor(0, 8) == 1);
  CHECK(s.factor(2, 8) == Approx(0.5 + std::sqrt(0.125)));
  CHECK(s.factor(4, 8) == Approx(0.5));
  CHECK(s.factor(8, 8) == Approx(0).margin(1e-15));
}

TEST_CASE("a constant rate stays") {
  const schedule s{.form = schedule::shape::constant, .warmup = 0};
  CHECK(s.factor(0, 3) == 1);
  CHECK(s.factor(2, 3) == 1);
}

TEST_CASE("a warm-up rises linearly over its share of the steps, rounded up") {
  const auto form =
      GENERATE(schedule::shape::constant, schedule::shape::linear, schedule::shape::cosine);
  const schedule s{.form = form, .warmup = 0.35};  // 3.5 of 10 steps: 4
  CHECK(s.factor(0, 10) == 0);
  CHECK(s.factor(1, 10) == 0.25);
  CHECK(s.factor(3, 10) == 0.75);
  CHECK(s.factor(4, 10) == 1);
  if (form == schedule::shape::linear)
    CHECK(s.factor(7, 10) == Approx(0.5));
  if (form == schedule::shape::cosine)
    CHECK(s.factor(7, 10) == Approx(0.5));
}

TEST_CASE("a schedule has a factor between 0 and 1 everywhere") {
  for (const auto form :
       {schedule::shape::constant, schedule::shape::linear, schedule::shape::cosine})
    for (const double warmup : {-1.0, 0.0, 0.06, 0.5, 1.0, 7.0})
      for (const int total : {0, 1, 2, 100})
        for (int step = 0; step <= total; ++step) {
          const double f = schedule{.form = form, .warmup = warmup}.factor(step, total);
          INFO("warmup " << warmup << ", step " << step << " of " << total);
          CHECK((f >= 0 && f <= 1));
        }
}
