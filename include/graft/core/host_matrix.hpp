// SPDX-License-Identifier: MIT
// A matrix's numbers where the program can read them, wherever the backend has the matrix.
#pragma once

#include <graft/core/view.hpp>

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

namespace graft {

// Row-major [rows, cols].
template <class T>
struct host_matrix {
  index_t rows = 0;
  index_t cols = 0;
  std::vector<T> values;

  T& operator()(index_t i, index_t j) { return values[static_cast<std::size_t>(i * cols + j)]; }
  const T& operator()(index_t i, index_t j) const {
    return values[static_cast<std::size_t>(i * cols + j)];
  }
};

// Waits for what makes them.
template <class B>
host_matrix<typename B::scalar> read_matrix(typename B::const_view x) {
  return {x.rows, x.cols, B::on_host(x)};
}

// Those of a frozen weight as the host has them, where it does.
template <class B>
host_matrix<typename B::scalar> read_frozen(const typename B::frozen_weight& w) {
  if (!w.data)
    return read_matrix<B>(typename B::const_view(w));
  return {w.rows, w.cols, {w.data, w.data + w.size()}};
}

// A parameter's numbers for the host: where they are, or a copy of what lies beyond its reach.
template <class B>
class host_numbers {
 public:
  using scalar = typename B::scalar;
  explicit host_numbers(const typename B::parameter& p) {
    if constexpr (std::is_same_v<typename B::parameter::value_type, scalar>) {
      numbers_ = {p.data, static_cast<std::size_t>(p.size())};
    } else {
      copy_ = B::on_host(p);
      numbers_ = copy_;
    }
  }
  host_numbers(const host_numbers&) = delete;
  host_numbers& operator=(const host_numbers&) = delete;
  const scalar& operator[](std::size_t i) const { return numbers_[i]; }

 private:
  std::vector<scalar> copy_;
  std::span<const scalar> numbers_;
};

}  // namespace graft
