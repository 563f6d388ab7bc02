// SPDX-License-Identifier: MIT
// Steps of the optimizers, a number at a time, and sums of squares, a block at a time.
#pragma once

#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/view.hpp>

#include <cmath>

namespace graft::kernels {

struct sgd_update {
  float *w, *v;
  const float* g;
  float rate, momentum, decay, gradient_scale;
  bool nesterov;
  GRAFT_DEVICE void operator()(index_t, index_t i) const {
    const float gi = g[i] * gradient_scale, vi = momentum * v[i] + gi;
    w[i] = w[i] * (1 - rate * decay) - rate * (nesterov ? gi + momentum * vi : vi);
    v[i] = vi;
  }
};

// With the bias corrections 1 − β₁ᵗ and 1 − β₂ᵗ made on the host.
struct adam_update {
  float *w, *m, *v;
  const float* g;
  float rate, beta1, beta2, epsilon, decay, gradient_scale, correction1, correction2;
  GRAFT_DEVICE void operator()(index_t, index_t i) const {
    const float gi = g[i] * gradient_scale;
    const float mi = beta1 * m[i] + (1 - beta1) * gi, vi = beta2 * v[i] + (1 - beta2) * gi * gi;
    const float step = (mi / correction1) / (sqrtf(vi / correction2) + epsilon);
    w[i] = w[i] * (1 - rate * decay) - rate * step;
    m[i] = mi;
    v[i] = vi;
  }
};

// sums[b] = Σ g² over block b; kernel(warp, b).
struct squares_block {
  static constexpr index_t block = 4096;
  float* sums;
  const float* g;
  index_t n;
  GRAFT_DEVICE void operator()(warp w, index_t b) const {
    const index_t first = b * block, count = n - first < block ? n - first : block;
    const float sum = w.sum(count, [&](index_t i) { return g[first + i] * g[first + i]; });
    w.each(1, [&](index_t) { sums[b] = sum; });
  }
};

}  // namespace graft::kernels
