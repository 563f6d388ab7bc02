// SPDX-License-Identifier: MIT
// Sums over the rows of a matrix, in two stages of fixed order: kernel(b, j) adds block b of column j
// into a row of its own, then fold adds those.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/core/device_code.hpp>

namespace graft::kernels {

inline constexpr index_t rows_of_block = 64;

GRAFT_DEVICE inline index_t end_of_block(index_t b, index_t rows) {
  const index_t end = (b + 1) * rows_of_block;
  return end < rows ? end : rows;
}

struct sum_block {
  device_view sums;  // float, [blocks, cols]
  const_device_view x;
  GRAFT_DEVICE void operator()(index_t b, index_t j) const {
    float sum = 0;
    for (index_t i = b * rows_of_block; i < end_of_block(b, x.rows); ++i)
      sum += x(i, j);
    sums.set(b, j, sum);
  }
};

struct dot_block {
  device_view sums;
  const_device_view a, b;
  GRAFT_DEVICE void operator()(index_t block, index_t j) const {
    float sum = 0;
    for (index_t i = block * rows_of_block; i < end_of_block(block, a.rows); ++i)
      sum += a(i, j) * b(i, j);
    sums.set(block, j, sum);
  }
};

// dy ∘ (x − mean) / √(var + ε)
struct norm_gain_block {
  device_view sums;
  const_device_view dy, x, stats;
  GRAFT_DEVICE void operator()(index_t b, index_t j) const {
    float sum = 0;
    for (index_t i = b * rows_of_block; i < end_of_block(b, x.rows); ++i)
      sum += dy(i, j) * (x(i, j) - stats(i, 0)) * stats(i, 1);
    sums.set(b, j, sum);
  }
};

// y += s Σ_b sums[b]
struct fold {
  device_view y;
  const_device_view sums;
  float s;
  GRAFT_DEVICE void operator()(index_t, index_t j) const {
    float sum = 0;
    for (index_t b = 0; b < sums.rows; ++b)
      sum += sums(b, j);
    y.set(0, j, y(0, j) + s * sum);
  }
};

}  // namespace graft::kernels
