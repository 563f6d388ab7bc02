// SPDX-License-Identifier: MIT
// Matrices for the tests of the backends: random or poisoned, with guard columns beside every row.
#pragma once

#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace graft_test {

using graft::index_t;

// [rows, cols] at a stride of cols + guard; the guards hold a number that nobody may change.
template <class T>
struct sheet {
  index_t rows, cols, stride, lead = 0;
  std::vector<T> values;

  sheet(index_t r, index_t c, index_t guard = 3)
      : rows(r), cols(c), stride(c + guard), values(std::size_t(r * (c + guard)), guarded) {}

  static constexpr T guarded = T(777.25);

  T* data() { return values.data() + lead; }
  const T* data() const { return values.data() + lead; }
  operator graft::matrix_view<T>() { return {data(), rows, cols, stride}; }
  operator graft::matrix_view<const T>() const { return {data(), rows, cols, stride}; }
  T& operator()(index_t i, index_t j) { return data()[i * stride + j]; }
  T operator()(index_t i, index_t j) const { return data()[i * stride + j]; }

  // A copy whose elements lie `by` elements further in memory.
  sheet moved(index_t by) const {
    sheet s = *this;
    s.lead += by;
    s.values.insert(s.values.begin(), std::size_t(by), guarded);
    return s;
  }
  void fill(T value) {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j)
        (*this)(i, j) = value;
  }
  bool guards_untouched() const {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = cols; j < stride; ++j)
        if ((*this)(i, j) != guarded)
          return false;
    return true;
  }
};

// Normal numbers of deviation `size`.
template <class T>
sheet<T> random_sheet(graft::random_stream& rng, index_t rows, index_t cols, double size = 1,
                      index_t guard = 3) {
  sheet<T> s(rows, cols, guard);
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j)
      s(i, j) = T(size * rng.normal());
  return s;
}

// Not-a-numbers: what an output holds before an operation that must not read it.
template <class T>
sheet<T> poisoned(index_t rows, index_t cols, index_t guard = 3) {
  sheet<T> s(rows, cols, guard);
  s.fill(std::numeric_limits<T>::quiet_NaN());
  return s;
}

// The largest difference, each relative to the largest number of its row (and at least to a
// hundredth of the largest number of all); infinite where a number is none.
template <class T>
double distance(const sheet<T>& found, const sheet<T>& expected, double floor = 0) {
  double all = 0, worst = 0;
  for (index_t i = 0; i < expected.rows; ++i)
    for (index_t j = 0; j < expected.cols; ++j)
      all = std::max(all, std::abs(double(expected(i, j))));
  for (index_t i = 0; i < expected.rows; ++i) {
    double row = std::max(all / 100, floor);
    for (index_t j = 0; j < expected.cols; ++j)
      row = std::max(row, std::abs(double(expected(i, j))));
    for (index_t j = 0; j < expected.cols; ++j) {
      const double d = std::abs(double(found(i, j)) - double(expected(i, j)));
      if (!(d <= std::numeric_limits<double>::max()))
        return std::numeric_limits<double>::infinity();
      if (d > 0)
        worst = std::max(worst, d / std::max(row, std::numeric_limits<double>::min()));
    }
  }
  return worst;
}

}  // namespace graft_test
