// SPDX-License-Identifier: MIT
// Learning-rate schedules: what the rate is multiplied with at a step.
#pragma once

#include <graft/core/plain.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace graft {

// After a linear rise over the first `warmup` share of the steps: constant; falling linearly to 0; or
// falling as half a cosine to 0 (Loshchilov & Hutter 2017, arXiv:1608.03983).
struct schedule {
  enum class shape : unsigned char { constant, linear, cosine };
  shape form = shape::linear;
  double warmup = 0.06;

  // The factor at step 0 .. total - 1.
  double factor(std::int64_t step, std::int64_t total) const;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN double schedule::factor(std::int64_t step, std::int64_t total) const {
  const double n = static_cast<double>(std::max<std::int64_t>(total, 1));
  const double rise = std::ceil(std::clamp(warmup, 0.0, 1.0) * n), t = static_cast<double>(step);
  if (t < rise)
    return t / rise;
  const double left = std::clamp((t - rise) / std::max(n - rise, 1.0), 0.0, 1.0);
  switch (form) {
    case shape::constant: return 1;
    case shape::linear: return 1 - left;
    case shape::cosine: return 0.5 * (1 + std::cos(3.141592653589793 * left));
  }
  return 1;
}

}  // namespace graft

#endif
