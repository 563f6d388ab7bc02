// SPDX-License-Identifier: MIT
// Steps of the optimizers, a number at a time, and sums of squares, a block at a time.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

struct sgd_update {
  device_view w, v;
  const_device_view g;
  float rate, momentum, decay, gradient_scale;
  bool nesterov;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const float slope = g(i, j) * gradient_scale, speed = momentum * v(i, j) + slope;
    const float step = nesterov ? slope + momentum * speed : speed;
    w.set(i, j, w(i, j) * (1 - rate * decay) - rate * step);
    v.set(i, j, speed);
  }
};

// With the bias corrections 1 − β₁ᵗ and 1 − β₂ᵗ made on the host.
struct adam_update {
  device_view w, m, v;
  const_device_view g;
  float rate, beta1, beta2, epsilon, decay, gradient_scale, correction1, correction2;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    const float slope = g(i, j) * gradient_scale;
    const float mean = beta1 * m(i, j) + (1 - beta1) * slope;
    const float square = beta2 * v(i, j) + (1 - beta2) * slope * slope;
    const float step = (mean / correction1) / (sqrtf(square / correction2) + epsilon);
    w.set(i, j, w(i, j) * (1 - rate * decay) - rate * step);
    m.set(i, j, mean);
    v.set(i, j, square);
  }
};

// sums[b] = Σ g² over block b of a contiguous g; kernel(warp, b).
struct squares_block {
  static constexpr index_t block = 4096;
  float* sums;
  const_device_view g;
  GRAFT_DEVICE void operator()(warp w, index_t b) const {
    const index_t first = b * block, rest = g.size() - first, count = rest < block ? rest : block;
    const float sum = w.sum(count, [&](index_t i) { return g(0, first + i) * g(0, first + i); });
    w.each(1, [&](index_t) { sums[b] = sum; });
  }
};

}  // namespace graft::kernels
