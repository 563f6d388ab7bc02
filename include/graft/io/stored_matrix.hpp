// SPDX-License-Identifier: MIT
// Matrices as files hold them, of whatever type of number.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// A matrix as a file has it; `owner` keeps the values where they are.
struct stored_matrix {
  dtype type = dtype::f32;
  index_t rows = 0, cols = 0;
  const std::byte* data = nullptr;
  std::shared_ptr<const void> owner;

  index_t size() const { return rows * cols; }
};

// New memory of one type, and the matrix in it.
template <class T>
struct written_matrix {
  stored_matrix matrix;
  T* values = nullptr;
};

template <class T>
written_matrix<T> make_matrix(index_t rows, index_t cols) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  const auto count = std::max<std::size_t>(1, static_cast<std::size_t>(rows * cols));
  std::shared_ptr<void> memory(std::calloc(count, sizeof(T)), std::free);
  if (!memory)
    throw std::bad_alloc();
  T* values = static_cast<T*>(memory.get());
  return {{sizeof(T) == 8 ? dtype::f64 : dtype::f32, rows, cols,
           reinterpret_cast<const std::byte*>(values), std::move(memory)},
          values};
}

// A matrix's values as T.
template <class T>
std::vector<T> values_of(const stored_matrix& m) {
  std::vector<T> values(static_cast<std::size_t>(m.size()));
  convert_to(m.type, m.data, values.size(), values.data());
  return values;
}

// The matrix that holds these values, row after row.
template <class T>
stored_matrix stored(index_t rows, index_t cols, const std::vector<T>& values) {
  expect_size("stored: values", rows * cols, static_cast<index_t>(values.size()));
  auto to = make_matrix<T>(rows, cols);
  std::copy(values.begin(), values.end(), to.values);
  return to.matrix;
}

// Values that lie in memory, where they are.
template <class T>
stored_matrix stored_at(const T* values, index_t rows, index_t cols,
                        std::shared_ptr<const void> owner) {
  static_assert(sizeof(T) == 4 || sizeof(T) == 8);
  return {sizeof(T) == 8 ? dtype::f64 : dtype::f32, rows, cols,
          reinterpret_cast<const std::byte*>(values), std::move(owner)};
}

namespace detail {

// A matrix, or a vector that stands for one row. Throws checkpoint_error for other shapes.
GRAFT_PLAIN stored_matrix matrix_of(const tensor_entry& entry, const std::shared_ptr<const void>& owner,
                                    const std::string& file);

GRAFT_PLAIN tensor_entry entry_of(std::string name, const stored_matrix& m);

// A tensor as a matrix: a vector is one row, what has more dimensions is rows of all the others.
GRAFT_PLAIN stored_matrix flattened(const tensor_entry& entry, const std::shared_ptr<const void>& owner);

GRAFT_PLAIN stored_matrix transposed(const stored_matrix& m);

// Row i of m times column[i], in double: the product of two floats is exact there.
GRAFT_PLAIN stored_matrix rows_times(const stored_matrix& m, const stored_matrix& column);

// Columns first … of a matrix.
GRAFT_PLAIN stored_matrix columns_of(const stored_matrix& m, index_t first, index_t count);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

namespace graft {

namespace detail {

GRAFT_PLAIN stored_matrix matrix_of(const tensor_entry& entry, const std::shared_ptr<const void>& owner,
                                    const std::string& file) {
  const auto& shape = entry.shape;
  if (shape.size() != 1 && shape.size() != 2)
    throw checkpoint_error(file + ": tensor " + in_quotes(entry.name) +
                           ": expected one or two dimensions, found " +
                           std::to_string(shape.size()));
  return {entry.type, shape.size() == 1 ? 1 : shape[0], shape.back(), entry.data, owner};
}

GRAFT_PLAIN tensor_entry entry_of(std::string name, const stored_matrix& m) {
  return {std::move(name), m.type, {m.rows, m.cols}, m.data,
          static_cast<std::size_t>(m.size()) * size_of(m.type)};
}

GRAFT_PLAIN stored_matrix flattened(const tensor_entry& entry, const std::shared_ptr<const void>& owner) {
  stored_matrix m{entry.type, 1, 1, entry.data, owner};
  const auto& shape = entry.shape;
  for (std::size_t i = 0; i < shape.size(); ++i)
    (i == 0 && shape.size() > 1 ? m.rows : m.cols) *= shape[i];
  return m;
}

GRAFT_PLAIN stored_matrix transposed(const stored_matrix& m) {
  const auto turn = [&]<class T>(T) {
    const auto from = values_of<T>(m);
    auto to = make_matrix<T>(m.cols, m.rows);
    for (index_t i = 0; i < m.rows; ++i)
      for (index_t j = 0; j < m.cols; ++j)
        to.values[j * m.rows + i] = from[static_cast<std::size_t>(i * m.cols + j)];
    return to.matrix;
  };
  return m.type == dtype::f64 ? turn(double()) : turn(float());
}

GRAFT_PLAIN stored_matrix rows_times(const stored_matrix& m, const stored_matrix& column) {
  const auto from = values_of<double>(m), by = values_of<double>(column);
  auto to = make_matrix<double>(m.rows, m.cols);
  for (index_t i = 0; i < m.size(); ++i)
    to.values[i] = from[static_cast<std::size_t>(i)] * by[static_cast<std::size_t>(i / m.cols)];
  return to.matrix;
}

GRAFT_PLAIN stored_matrix columns_of(const stored_matrix& m, index_t first, index_t count) {
  const auto take = [&]<class T>(T) {
    const auto from = values_of<T>(m);
    auto to = make_matrix<T>(m.rows, count);
    for (index_t i = 0; i < m.rows; ++i)
      std::copy_n(from.data() + i * m.cols + first, count, to.values + i * count);
    return to.matrix;
  };
  return m.type == dtype::f64 ? take(double()) : take(float());
}

}  // namespace detail

}  // namespace graft

#endif
