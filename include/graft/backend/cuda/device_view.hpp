// SPDX-License-Identifier: MIT
// A matrix in device memory that somebody else owns. It knows the type of its numbers, so that an
// operation takes activations of 16 bits and parameters of 32 alike.
#pragma once

#include <graft/backend/cuda/numbers.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace graft {

// N numbers that lie beside each other.
template <int N>
struct bunch {
  float of[N]{};
  GRAFT_DEVICE float& operator[](int k) { return of[k]; }
  GRAFT_DEVICE float operator[](int k) const { return of[k]; }
};

// … as they lie in memory, those of 16 bits two to a word.
template <int N>
struct alignas(16) raw_bunch {
  std::uint32_t words[N]{};
};

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

  // What becomes of x in here.
  GRAFT_DEVICE float rounded(float x) const {
    switch (type) {
      case number_type::bf16: return to_float(number_from<bf16>(x));
      case number_type::f16: return to_float(number_from<fp16>(x));
      case number_type::f32: break;
    }
    return x;
  }

  // Columns j … j + N − 1 of row i (4 or 8 of them), moved at once where they lie so; zeros are read, and
  // nothing is written, beyond the last column. What is fetched is yet to be decoded: a thread that fetches
  // all that it needs first waits for the memory once.
  template <int N>
  GRAFT_DEVICE raw_bunch<N> fetch(index_t i, index_t j) const {
    if (at_once<N>(i, j))
      return type == number_type::f32 ? fetch_as<float, N>(i, j) : fetch_as<bf16, N>(i, j);
    raw_bunch<N> v;
    for (int k = 0; k < N; ++k)
      if (j + k < cols) {
        const index_t at = i * stride + j + k;
        if (type == number_type::f32)
          v.words[k] = static_cast<const std::uint32_t*>(data)[at];
        else
          v.words[k / 2] |= std::uint32_t{static_cast<const std::uint16_t*>(data)[at]} << (k % 2 * 16);
      }
    return v;
  }
  template <int N>
  GRAFT_DEVICE bunch<N> decode(const raw_bunch<N>& v) const {
    if (type == number_type::f32)
      return decode_as<float>(v);
    return type == number_type::bf16 ? decode_as<bf16>(v) : decode_as<fp16>(v);
  }
  template <int N>
  GRAFT_DEVICE bunch<N> load(index_t i, index_t j) const {
    return decode(fetch<N>(i, j));
  }
  template <int N>
  GRAFT_DEVICE void store(index_t i, index_t j, const bunch<N>& x) const
    requires Writable
  {
    if (!at_once<N>(i, j)) {
      for (int k = 0; k < N; ++k)
        if (j + k < cols)
          set(i, j + k, x[k]);
    } else if (type == number_type::f32) {
      store_as<float>(i, j, x);
    } else if (type == number_type::bf16) {
      store_as<bf16>(i, j, x);
    } else {
      store_as<fp16>(i, j, x);
    }
  }

  // Can every N columns of every row, counted from the first, be moved at once?
  template <int N>
  GRAFT_DEVICE bool in_bunches() const {
    return cols % N == 0 && at_once<N>(0, 0) && stride * bytes_of(type) % bytes_at_once<N>() == 0;
  }
  // The same for those alone that can be moved at once, of numbers known to be of type T.
  template <class T, int N>
  GRAFT_DEVICE raw_bunch<N> fetch_as(index_t i, index_t j) const {
    raw_bunch<N> v;
    move_words<N * sizeof(T) / 4>(v.words, static_cast<const T*>(data) + (i * stride + j));
    return v;
  }
  template <class T, int N>
  GRAFT_DEVICE static bunch<N> decode_as(const raw_bunch<N>& v) {
    bunch<N> x;
    for (int k = 0; k < N; ++k)
      if constexpr (sizeof(T) == 4)
        x[k] = __builtin_bit_cast(float, v.words[k]);
      else
        x[k] = to_float(T{static_cast<std::uint16_t>(v.words[k / 2] >> (k % 2 * 16))});
    return x;
  }
  template <class T, int N>
  GRAFT_DEVICE void store_as(index_t i, index_t j, const bunch<N>& x) const
    requires Writable
  {
    raw_bunch<N> v;
    for (int k = 0; k < N; ++k)
      if constexpr (sizeof(T) == 4)
        v.words[k] = __builtin_bit_cast(std::uint32_t, x[k]);
      else
        v.words[k / 2] |= std::uint32_t{number_from<T>(x[k]).bits} << (k % 2 * 16);
    move_words<N * sizeof(T) / 4>(static_cast<T*>(data) + (i * stride + j), v.words);
  }

 private:
  template <int N>
  GRAFT_DEVICE index_t bytes_at_once() const {
    return bytes_of(type) == 4 || N == 8 ? 16 : 8;
  }
  template <int N>
  GRAFT_DEVICE bool at_once(index_t i, index_t j) const {
    const auto address = reinterpret_cast<std::uintptr_t>(behind(i * stride + j));
    return j + N <= cols && address % static_cast<std::uintptr_t>(bytes_at_once<N>()) == 0;
  }
  // Words by as many as one instruction moves, 4 or 2.
  template <int Words>
  GRAFT_DEVICE static void move_words(void* to, const void* from) {
    constexpr int at_once = Words < 4 ? Words : 4;
    for (int k = 0; k < Words; k += at_once)
      __builtin_memcpy(__builtin_assume_aligned(static_cast<char*>(to) + 4 * k, 4 * at_once),
                       __builtin_assume_aligned(static_cast<const char*>(from) + 4 * k, 4 * at_once),
                       std::size_t{4} * at_once);
  }

  GRAFT_DEVICE pointer behind(index_t numbers) const {
    using byte = std::conditional_t<Writable, char, const char>;
    return data ? static_cast<byte*>(data) + numbers * bytes_of(type) : nullptr;
  }
};

using device_view = device_matrix<true>;
using const_device_view = device_matrix<false>;

}  // namespace graft
