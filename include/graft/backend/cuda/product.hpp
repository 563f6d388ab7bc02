// SPDX-License-Identifier: MIT
// A matrix product, as it is given to a device.
#pragma once

#include <graft/backend/cuda/device_view.hpp>

namespace graft {

// y (+)= s · op(x) op(w), + bias in every row, where op turns a matrix or does not. x and w have numbers of
// one type, y and the bias [1, y.cols] (empty: none) too.
struct device_product {
  device_view y;
  const_device_view x, w;
  bool turn_x, turn_w;
  float s;
  bool add;
  const_device_view bias{};
  bool tf32 = false;  // of floats: may their mantissas be cut for the tensor cores?

  index_t inner() const { return turn_x ? x.rows : x.cols; }
};

}  // namespace graft
