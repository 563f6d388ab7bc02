// SPDX-License-Identifier: MIT
// A matrix in device memory that somebody else owns. It knows the type of its numbers, so that an
// operation takes activations of 16 bits and parameters of 32 alike.
#pragma once

#include <graft/backend/cuda/numbers.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/view.hpp>

#include <type_traits>

namespace graft {

// Row-major [rows, cols]; element (i, j) is the (i · stride + j)-th number behind `data`. Elements are
// read and written in kernels only.
template <bool Writable>
struct device_matrix {
  using pointer = std::conditional_t<Writable, void*, const void*>;

  pointer data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  index_t stride = 0;
  number_type type = number_type::f32;

  device_matrix() = default;
  GRAFT_DEVICE device_matrix(pointer d, index_t r, index_t c, index_t s, number_type t)
      : data(d), rows(r), cols(c), stride(s), type(t) {}
  template <class T>
    requires(!std::is_void_v<T> && (Writable ? !std::is_const_v<T> : true))
  device_matrix(T* d, index_t r, index_t c)
      : device_matrix(d, r, c, c, number_type_of<std::remove_const_t<T>>) {}
  template <class T>
    requires(Writable ? !std::is_const_v<T> : true)
  device_matrix(matrix_view<T> v)
      : device_matrix(v.data, v.rows, v.cols, v.stride, number_type_of<std::remove_const_t<T>>) {}
  // A view that may write is also a view that may only read.
  template <bool Other>
    requires(Other && !Writable)
  GRAFT_DEVICE device_matrix(const device_matrix<Other>& other)
      : device_matrix(other.data, other.rows, other.cols, other.stride, other.type) {}

  GRAFT_DEVICE index_t size() const { return rows * cols; }
  GRAFT_DEVICE bool contiguous() const { return stride == cols || rows <= 1; }

  GRAFT_DEVICE device_matrix shaped(index_t r, index_t c) const { return {data, r, c, c, type}; }
  GRAFT_DEVICE device_matrix columns(index_t from, index_t count) const {
    return {behind(from), rows, count, stride, type};
  }
  GRAFT_DEVICE device_matrix rows_of(index_t from, index_t count) const {
    return {behind(from * stride), count, cols, stride, type};
  }

  GRAFT_DEVICE float operator()(index_t i, index_t j) const {
    const index_t at = i * stride + j;
    switch (type) {
      case number_type::bf16: return to_float(static_cast<const bf16*>(data)[at]);
      case number_type::f16: return to_float(static_cast<const fp16*>(data)[at]);
      case number_type::f32: break;
    }
    return static_cast<const float*>(data)[at];
  }
  GRAFT_DEVICE void set(index_t i, index_t j, float x) const
    requires Writable
  {
    const index_t at = i * stride + j;
    switch (type) {
      case number_type::bf16: static_cast<bf16*>(data)[at] = number_from<bf16>(x); return;
      case number_type::f16: static_cast<fp16*>(data)[at] = number_from<fp16>(x); return;
      case number_type::f32: break;
    }
    static_cast<float*>(data)[at] = x;
  }

 private:
  GRAFT_DEVICE pointer behind(index_t numbers) const {
    using byte = std::conditional_t<Writable, char, const char>;
    return data ? static_cast<byte*>(data) + numbers * bytes_of(type) : nullptr;
  }
};

using device_view = device_matrix<true>;
using const_device_view = device_matrix<false>;

}  // namespace graft
