// SPDX-License-Identifier: MIT
// Rows of numbers rounded to 8 bits when they are met: the inputs of products with int8 weights.
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace graft {

// x ≈ s q,  s = max(max |x|, 10⁻³⁰) / 127,  q = x · (1 / s) to the nearest whole number (of two the even
// one), within ±127: off by s / 2 at most, beside the rounding of floats. All arithmetic is in float. Where
// max |x| is not finite, s is a NaN.
struct int8_rounding {
  float scale;
  float inverse;

  GRAFT_DEVICE explicit int8_rounding(float greatest)
      : scale((greatest < 1e-30f ? 1e-30f : greatest) / 127), inverse(1 / scale) {
    if (!(greatest < HUGE_VALF))
      scale = NAN;
  }

  GRAFT_DEVICE float code(float x) const { return std::rint(x * inverse); }
  GRAFT_DEVICE float operator()(float x) const { return scale * code(x); }
};

// … of a row of n numbers, where a NaN counts as the greatest. (As bits, which a compiler compares by vectors.)
template <class T>
int8_rounding int8_rounding_of(const T* x, index_t n) {
  std::uint32_t greatest = 0;
  for (index_t j = 0; j < n; ++j)
    greatest = std::max(greatest, __builtin_bit_cast(std::uint32_t, static_cast<float>(x[j])) & 0x7fffffffu);
  return int8_rounding(__builtin_bit_cast(float, greatest));
}

// q = the codes of a row, which is s q; returns s. Codes of 0 under a NaN.
template <class T>
float round_to_int8(std::int8_t* q, const T* x, index_t n) {
  const int8_rounding r = int8_rounding_of(x, n);
  if (std::isnan(r.scale))
    std::fill_n(q, n, std::int8_t{0});
  else
    for (index_t j = 0; j < n; ++j)
      q[j] = static_cast<std::int8_t>(static_cast<int>(r.code(static_cast<float>(x[j]))));
  return r.scale;
}

}  // namespace graft
