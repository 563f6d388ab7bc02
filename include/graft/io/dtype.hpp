// SPDX-License-Identifier: MIT
// The element types of tensors in files, and their values as float or double.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/half_precision.hpp>
#include <graft/core/plain.hpp>

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

namespace detail {

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
GRAFT_PLAIN void convert_from(const float* values, std::size_t count, dtype target, std::byte* out);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void convert_from(const float* values, std::size_t count, dtype target, std::byte* out) {
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

#endif
