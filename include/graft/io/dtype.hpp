// SPDX-License-Identifier: MIT
// The element types of tensors in files, and their values as float or double.
#pragma once

#include <graft/core/error.hpp>

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace graft {

static_assert(std::endian::native == std::endian::little,
              "graft: tensors are used as the file has them, which is little-endian");

// In the format's order of growing alignment, which decides the order of tensors in a new file.
enum class dtype { boolean, u8, i8, i16, u16, f16, bf16, i32, u32, f32, f64, i64, u64 };

struct dtype_facts {
  std::string_view name;  // as in the file
  std::size_t bytes;      // of one element
};

inline constexpr std::array<dtype_facts, 13> dtype_table{{{"BOOL", 1},
                                                          {"U8", 1},
                                                          {"I8", 1},
                                                          {"I16", 2},
                                                          {"U16", 2},
                                                          {"F16", 2},
                                                          {"BF16", 2},
                                                          {"I32", 4},
                                                          {"U32", 4},
                                                          {"F32", 4},
                                                          {"F64", 8},
                                                          {"I64", 8},
                                                          {"U64", 8}}};

constexpr std::string_view name_of(dtype type) {
  return dtype_table[static_cast<std::size_t>(type)].name;
}
constexpr std::size_t size_of(dtype type) {
  return dtype_table[static_cast<std::size_t>(type)].bytes;
}

// Float from the 16-bit formats: exact for every value. A NaN keeps its sign and payload.
constexpr float from_f16(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu;
  const std::uint32_t mantissa = half & 0x3ffu;
  if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24, which a float holds exactly
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  const std::uint32_t rebiased = exponent == 0x1f ? 0xffu : exponent + (127 - 15);
  return std::bit_cast<float>(sign | rebiased << 23 | mantissa << 13);
}

constexpr float from_bf16(std::uint16_t upper_half) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(upper_half) << 16);
}

namespace detail {

// v / 2^bits to the nearest integer, ties to the even one.
constexpr std::uint32_t round_shift(std::uint32_t v, std::uint32_t bits) {
  const std::uint32_t odd = (v >> bits) & 1u;
  return (v + (1u << (bits - 1)) - 1 + odd) >> bits;
}

template <class T>
T load_number(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <class T>
void store(T value, std::byte* to) {
  std::memcpy(to, &value, sizeof value);
}

}  // namespace detail

// The 16-bit formats from float: to the nearest value, ties to even; beyond the largest, infinity.
// A NaN becomes a quiet NaN with the upper bits of its payload.
constexpr std::uint16_t to_f16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
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

constexpr std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>(detail::round_shift(bits, 16));
}

// `count` values of type F64, F32, F16 or BF16 as float or double; `data` may have any alignment.
// Exact except F64 to float, which rounds. Other types throw.
template <std::floating_point To>
void convert_to(dtype source, const std::byte* data, std::size_t count, To* out) {
  const auto each = [&](auto read) {
    for (std::size_t i = 0; i < count; ++i)
      out[i] = static_cast<To>(read(data + i * size_of(source)));
  };
  switch (source) {
    case dtype::f64:
      return each(detail::load_number<double>);
    case dtype::f32:
      return each(detail::load_number<float>);
    case dtype::f16:
      return each([](const std::byte* at) { return from_f16(detail::load_number<std::uint16_t>(at)); });
    case dtype::bf16:
      return each([](const std::byte* at) { return from_bf16(detail::load_number<std::uint16_t>(at)); });
    default:
      throw checkpoint_error("expected values of type F64, F32, F16 or BF16, found " +
                             std::string(name_of(source)));
  }
}

// The way back, to F32, F16 or BF16; `out` may have any alignment. Other types throw.
inline void convert_from(const float* values, std::size_t count, dtype target, std::byte* out) {
  const auto each = [&](auto narrow) {
    for (std::size_t i = 0; i < count; ++i)
      detail::store(narrow(values[i]), out + i * size_of(target));
  };
  switch (target) {
    case dtype::f32:
      return each([](float value) { return value; });
    case dtype::f16:
      return each(to_f16);
    case dtype::bf16:
      return each(to_bf16);
    default:
      throw checkpoint_error("expected the type F32, F16 or BF16 to write, found " +
                             std::string(name_of(target)));
  }
}

}  // namespace graft
