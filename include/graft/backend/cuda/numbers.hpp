// SPDX-License-Identifier: MIT
// The numbers that device memory holds: float, and two kinds of 16 bits that are computed with as
// floats.
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/half_precision.hpp>

#include <cstdint>
#include <string_view>

namespace graft {

// The upper half of a float: 8 bits of exponent, 7 of mantissa.
struct bf16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(bf16, bf16) = default;
};
// IEEE's binary16: 5 bits of exponent, 10 of mantissa. (CUDA has a type `half` of its own.)
struct fp16 {
  std::uint16_t bits = 0;
  friend constexpr bool operator==(fp16, fp16) = default;
};

// A float; products of such are computed with 10 bits of their mantissas, by tensor cores that can (TF32).
struct tf32 {
  float value = 0;
  friend constexpr bool operator==(tf32, tf32) = default;
};

enum class number_type : unsigned char { f32, bf16, f16 };

constexpr std::string_view name_of(number_type t) {
  return t == number_type::f32 ? "float" : t == number_type::bf16 ? "bf16" : "fp16";
}
GRAFT_DEVICE constexpr int bytes_of(number_type t) { return t == number_type::f32 ? 4 : 2; }

template <class T>
inline constexpr number_type number_type_of = number_type::f32;
template <>
inline constexpr number_type number_type_of<bf16> = number_type::bf16;
template <>
inline constexpr number_type number_type_of<fp16> = number_type::f16;

GRAFT_DEVICE constexpr float to_float(float x) { return x; }
GRAFT_DEVICE constexpr float to_float(tf32 x) { return x.value; }
GRAFT_DEVICE constexpr float to_float(bf16 x) { return from_bf16(x.bits); }
// (A GPU converts in one instruction, to the same numbers.)
GRAFT_DEVICE constexpr float to_float(fp16 x) {
#ifdef __CUDA_ARCH__
  if (!__builtin_is_constant_evaluated()) {
    float y;
    asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x.bits));
    return y;
  }
#endif
  return from_f16(x.bits);
}

// The nearest T.
template <class T>
GRAFT_DEVICE constexpr T number_from(float x) {
#ifdef __CUDA_ARCH__
  if (!__builtin_is_constant_evaluated()) {
    if constexpr (number_type_of<T> == number_type::f16) {
      T y;
      asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
      return y;
    }
#if __CUDA_ARCH__ >= 800
    if constexpr (number_type_of<T> == number_type::bf16) {
      T y;
      asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y.bits) : "f"(x));
      return y;
    }
#endif
  }
#endif
  if constexpr (number_type_of<T> == number_type::bf16)
    return {to_bf16(x)};
  else if constexpr (number_type_of<T> == number_type::f16)
    return {to_f16(x)};
  else
    return T{x};
}

}  // namespace graft
