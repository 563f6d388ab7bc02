// SPDX-License-Identifier: MIT
// Storage in the memory of the processor: a workspace, tensors that live in it, parameters, and
// frozen weights. Shared by the backends that compute on the CPU.
#pragma once

#include <graft/backend/workspace.hpp>
#include <graft/core/int8_rows.hpp>
#include <graft/core/quantized.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>
#include <vector>

namespace graft {

// Memory of the processor.
struct host_memory {
  static constexpr std::size_t alignment = 64;
  static void* allocate(std::size_t bytes) {
    void* data = std::aligned_alloc(alignment, bytes);
    if (!data)
      throw std::bad_alloc();
    return data;
  }
  static void release(void* data) noexcept { std::free(data); }
};

using host_workspace = workspace_over<host_memory>;

// A matrix of a step: a view with a share in the workspace that holds it. Copies share; nobody writes
// into a tensor that may have another holder (see `unique`). Without a share it is a plain view over
// memory that somebody else keeps alive.
template <class T>
struct host_tensor : matrix_view<T> {
  host_workspace::lease memory;

  host_tensor() = default;
  host_tensor(matrix_view<T> v) : matrix_view<T>(v) {}
  host_tensor(matrix_view<T> v, host_workspace::lease m)
      : matrix_view<T>(v), memory(std::move(m)) {}

  bool unique() const { return memory.unique(); }
  host_tensor columns(index_t from, index_t count) const {
    return {matrix_view<T>::columns(from, count), memory};
  }
  host_tensor rows_of(index_t from, index_t count) const {
    return {matrix_view<T>::rows_of(from, count), memory};
  }
};

// A trained matrix, contiguous. Copies share their values. A model's parameters are pieces of its one
// flat store; a layer made by hand owns its own, zero at first.
template <class T>
struct host_parameter {
  using value_type = T;
  T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<void> owner;

  host_parameter() = default;
  host_parameter(index_t r, index_t c) : rows(r), cols(c) {
    if (r * c == 0)
      return;
    owner.reset(std::calloc(static_cast<std::size_t>(r * c), sizeof(T)), std::free);
    if (!owner)
      throw std::bad_alloc();
    data = static_cast<T*>(owner.get());
  }
  host_parameter(T* d, index_t r, index_t c, std::shared_ptr<void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {}

  index_t size() const { return rows * cols; }
  T& operator()(index_t i, index_t j) const { return data[i * cols + j]; }
  operator matrix_view<T>() const { return {data, rows, cols}; }
  operator matrix_view<const T>() const { return {data, rows, cols}; }
};

// A matrix that is never trained: it may lie in a file that is mapped read-only, shared by any number
// of models. Sizes may be known before the values are.
template <class T>
struct host_weight {
  using value_type = T;
  const T* data = nullptr;
  index_t rows = 0;
  index_t cols = 0;
  std::shared_ptr<const void> owner;

  host_weight() = default;
  host_weight(index_t r, index_t c) : rows(r), cols(c) {}
  host_weight(const T* d, index_t r, index_t c, std::shared_ptr<const void> o)
      : data(d), rows(r), cols(c), owner(std::move(o)) {}
  host_weight(const host_parameter<T>& p)
      : data(p.data), rows(p.rows), cols(p.cols), owner(p.owner) {}

  index_t size() const { return rows * cols; }
  const T& operator()(index_t i, index_t j) const { return data[i * cols + j]; }
  operator matrix_view<const T>() const { return {data, rows, cols}; }
};

// The three kinds of storage and how to make a tensor: what both host backends have in common.
template <class T>
struct host {
  using scalar = T;
  using workspace = host_workspace;
  using tensor = host_tensor<T>;
  using parameter = host_parameter<T>;
  using frozen_weight = host_weight<T>;
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;
  template <number_format Format>
  using quantized = std::shared_ptr<const quantized_matrix<Format>>;

  // An uninitialised [rows, cols].
  static tensor make(workspace& w, index_t rows, index_t cols) {
    auto [data, lease] = w.take(static_cast<std::size_t>(rows * cols) * sizeof(T));
    return {view{static_cast<T*>(data), rows, cols}, std::move(lease)};
  }
  static tensor make_exact(workspace& w, index_t rows, index_t cols) { return make(w, rows, cols); }

  template <class Matrix>
  static void dequantize(view y, const std::shared_ptr<const Matrix>& q) {
    graft::dequantize(y, *q);
  }
  static void round_rows(view y, const_view x) {
    for (index_t i = 0; i < x.rows; ++i) {
      const int8_rounding rounded = int8_rounding_of(x.row(i), x.cols);
      std::transform(x.row(i), x.row(i) + x.cols, y.row(i),
                     [&](T v) { return static_cast<T>(rounded(static_cast<float>(v))); });
    }
  }

  static std::vector<T> on_host(const_view x) {
    std::vector<T> values(static_cast<std::size_t>(x.size()));
    for (index_t i = 0; i < x.rows; ++i)
      std::copy_n(x.row(i), x.cols, values.data() + i * x.cols);
    return values;
  }
  template <class Numbers>
  static void from_host(view y, const Numbers& values) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j)
        y(i, j) = static_cast<T>(values[static_cast<std::size_t>(i * y.cols + j)]);
  }
};

}  // namespace graft

#ifdef GRAFT_EXTERN  // core/plain.hpp
extern template class graft::workspace_over<graft::host_memory>;
#endif
