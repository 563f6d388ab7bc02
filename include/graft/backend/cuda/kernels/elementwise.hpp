// SPDX-License-Identifier: MIT
// Kernels that make each element of a matrix on its own: kernel(i, j) for every row i and column j.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/activation_value.hpp>
#include <graft/backend/cuda/kernels/dropout_mask.hpp>
#include <graft/core/activation.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

struct copy {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, x(i, j)); }
};

struct fill {
  device_view y;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, s); }
};

struct scale {
  device_view y;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, y(i, j) * s); }
};

// y += s x
struct add_scaled {
  device_view y;
  const_device_view x;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, y(i, j) + s * x(i, j)); }
};

struct multiply {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, y(i, j) * x(i, j)); }
};

// y += s · row
struct add_row {
  device_view y;
  const_device_view row;
  float s;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, y(i, j) + s * row(0, j)); }
};

// y (+)= x ∘ row, or x ∘ column
struct multiply_row {
  device_view y;
  const_device_view x, row;
  bool add;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    y.set(i, j, (add ? y(i, j) : 0.0f) + x(i, j) * row(0, j));
  }
};
struct multiply_column {
  device_view y;
  const_device_view x, column;
  bool add;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    y.set(i, j, (add ? y(i, j) : 0.0f) + x(i, j) * column(i, 0));
  }
};

struct divide_by_root {
  device_view y;
  const_device_view a, b;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, a(i, j) / sqrtf(b(i, j))); }
};

struct activate {
  device_view y;
  const_device_view x;
  activation f;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, activated(f, x(i, j))); }
};
struct activate_backward {
  device_view dx;
  const_device_view dy, x;
  activation f;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    dx.set(i, j, dy(i, j) * slope_of(f, x(i, j)));
  }
};

// Four columns at a time, which one draw has words for: kernel(i, j) makes columns 4 j … 4 j + 3.
struct dropout {
  device_view y;
  const_device_view x;
  dropout_mask mask;
  const row_name* names;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const dropout_words words = mask.words(names[i], static_cast<std::uint32_t>(j));
    for (int k = 0; k < 4 && 4 * j + k < x.cols; ++k)
      y.set(i, 4 * j + k, mask.factor(words, k) * x(i, 4 * j + k));
  }
};

}  // namespace graft::kernels
