// SPDX-License-Identifier: MIT
// Floats in 16 bits, as bits: F16 is IEEE's binary16 (5 bits of exponent, 10 of mantissa), BF16 the upper
// half of a float. The same on host and device. (std::bit_cast is for the host alone.)
#pragma once

#include <graft/core/device_code.hpp>

#include <cstdint>

namespace graft {

// Float from the 16-bit formats: exact for every value. A NaN keeps its sign and payload.
GRAFT_DEVICE constexpr float from_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, which a float holds exactly
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t rebiased = exponent == 0x1f ? 0xffu : exponent + (127 - 15);
  return __builtin_bit_cast(float, sign | rebiased << 23 | mantissa << 13);
}

GRAFT_DEVICE constexpr float from_bf16(std::uint16_t upper_half) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(upper_half) << 16);
}

namespace detail {

// v / 2^bits to the nearest integer, ties to the even one.
GRAFT_DEVICE constexpr std::uint32_t round_shift(std::uint32_t v, std::uint32_t bits) {
  const std::uint32_t odd = (v >> bits) & 1u;
  return (v + (1u << (bits - 1)) - 1 + odd) >> bits;
}

}  // namespace detail

// The 16-bit formats from float: to the nearest value, ties to even; beyond the largest, infinity.
// A NaN becomes a quiet NaN with the upper bits of its payload.
GRAFT_DEVICE constexpr std::uint16_t to_f16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  const std::uint32_t exponent = magnitude >> 23;
  std::uint32_t half = 0;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (exponent >= 143) {  // 2^16 and above
    half = 0x7c00u;
  } else if (exponent >= 113) {  // a carry out of the mantissa raises the exponent, up to infinity
    half = detail::round_shift(magnitude - ((127u - 15u) << 23), 13);
  } else if (exponent >= 102) {  // subnormal: a count of 2^-24
    half = detail::round_shift((magnitude & 0x7fffffu) | 0x800000u, 126 - exponent);
  }
  return static_cast<std::uint16_t>(sign | half);
}

GRAFT_DEVICE constexpr std::uint16_t to_bf16(float value) {
  const auto bits = __builtin_bit_cast(std::uint32_t, value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>(detail::round_shift(bits, 16));
}

}  // namespace graft
