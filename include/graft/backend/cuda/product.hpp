// SPDX-License-Identifier: MIT
// A matrix product, as it is given to a device.
#pragma once

#include <graft/backend/cuda/device_view.hpp>

namespace graft {

// y (+)= s · op(x) op(w), where op turns a matrix or does not. x and w have numbers of one type.
struct device_product {
  device_view y;
  const_device_view x, w;
  bool turn_x, turn_w;
  float s;
  bool add;

  index_t inner() const { return turn_x ? x.rows : x.cols; }
};

}  // namespace graft
