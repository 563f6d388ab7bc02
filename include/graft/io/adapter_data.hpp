// SPDX-License-Identifier: MIT
// An adapter as plain data, whatever library wrote it and whatever model it goes into: the readers of
// foreign folders make one, put_adapter (io/adapter.hpp) fills a model from it, the writers and
// io/combine.hpp take it.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/view.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/model/task_kind.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
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

namespace detail {

// A matrix, or a vector that stands for one row. Throws checkpoint_error for other shapes.
inline stored_matrix matrix_of(const tensor_entry& entry, const std::shared_ptr<const void>& owner,
                               const std::string& file) {
  const auto& shape = entry.shape;
  if (shape.size() != 1 && shape.size() != 2)
    throw checkpoint_error(file + ": tensor " + in_quotes(entry.name) +
                           ": expected one or two dimensions, found " +
                           std::to_string(shape.size()));
  return {entry.type, shape.size() == 1 ? 1 : shape[0], shape.back(), entry.data, owner};
}

inline tensor_entry entry_of(std::string name, const stored_matrix& m) {
  return {std::move(name), m.type, {m.rows, m.cols}, m.data,
          static_cast<std::size_t>(m.size()) * size_of(m.type)};
}

}  // namespace detail

// Which base a model was built on: a name for people, a fingerprint for the loader; empty where a folder
// does not tell.
struct base_identity {
  std::string name;
  std::string fingerprint;
};

// A method at one place: its numbers, and what of its options is structure, named and spelled as its
// describe() does ("place": "parallel", "gating": "false").
struct adapter_decoration {
  decoration_numbers numbers;
  std::map<std::string, std::string, std::less<>> form;
};

// Some entries of a table that are others under this adapter (PEFT's trainable tokens).
struct replaced_rows {
  std::vector<index_t> entries;
  stored_matrix rows;  // one for each
};

// | member      | meaning                                                                           |
// | source      | the file that describes it, for messages                                          |
// | values      | … and the one that has its tensors                                                |
// | decorations | by the path of the layer that is decorated, then by method                        |
// | tensors     | by parameter path (layer.0.attention.query.lora.a): what is trained, and the base's |
// |             | own parameters that are others under this adapter (head.classifier.weight)        |
// | rows        | by parameter path                                                                 |
// | departed    | paths of `tensors` and `rows` that the tuning may have frozen                     |
// | partial     | the base's own parameters that are not in it are as the base has them             |
// | task        | of the head in it or, without one, that it was trained under; none: of no head    |
// | labels      | of that head, empty where they are not known                                      |
// | notes       | what a person should know: inert keys that were ignored, suspicious values        |
struct adapter_data {
  std::string source, values;
  std::map<std::string, std::map<std::string, adapter_decoration>> decorations;
  std::map<std::string, stored_matrix> tensors;
  std::map<std::string, replaced_rows> rows;
  std::set<std::string> departed;
  bool partial = false;
  std::optional<task_kind> task;
  std::vector<std::string> labels;
  std::vector<graft::task> tasks;  // of a model with several heads
  std::uint64_t seed = 0;          // of what neither the base nor the adapter holds
  base_identity base;
  std::vector<std::string> notes;
};

}  // namespace graft
