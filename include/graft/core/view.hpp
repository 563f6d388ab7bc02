// SPDX-License-Identifier: MIT
// A matrix somebody else owns: pointer, sizes and row stride. Every operation of a host backend takes
// these; tensors, parameters and frozen weights convert to them.
#pragma once

#include <cstddef>
#include <type_traits>

namespace graft {

// Sizes and positions. Not `index`: POSIX has a function of that name.
using index_t = std::ptrdiff_t;

// Row-major [rows, cols]; element (i, j) is at data[i * stride + j], stride >= cols. A column slice
// of a view is again a view. Copying copies the pointer.
template <class T>
struct matrix_view {
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t stride = 0;

  constexpr matrix_view() = default;
  constexpr matrix_view(T* d, index_t r, index_t c) : data(d), rows(r), cols(c), stride(c) {}
  constexpr matrix_view(T* d, index_t r, index_t c, index_t s) : data(d), rows(r), cols(c), stride(s) {}

  // A view that may write is also a view that may only read.
  template <class U>
    requires(std::is_same_v<const U, T> && !std::is_const_v<U>)
  constexpr matrix_view(const matrix_view<U>& other)
      : data(other.data), rows(other.rows), cols(other.cols), stride(other.stride) {}

  constexpr T& operator()(index_t i, index_t j) const { return data[i * stride + j]; }
  constexpr T* row(index_t i) const { return data + i * stride; }
  constexpr index_t size() const { return rows * cols; }
  constexpr bool contiguous() const { return stride == cols || rows <= 1; }

  // The same numbers, which lie one behind the other, in other rows.
  constexpr matrix_view shaped(index_t r, index_t c) const { return {data, r, c, c}; }
  constexpr matrix_view columns(index_t from, index_t count) const {
    return {data + from, rows, count, stride};
  }
  constexpr matrix_view rows_of(index_t from, index_t count) const {
    return {data + from * stride, count, cols, stride};
  }
};

}  // namespace graft
