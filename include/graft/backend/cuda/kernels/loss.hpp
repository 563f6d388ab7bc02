// SPDX-License-Identifier: MIT
// Losses: each row's part of the sum, and the gradient.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>
#include <cstdint>

namespace graft::kernels {

GRAFT_DEVICE inline bool is_finite(float x) { return fabsf(x) <= 3.402823466e38f; }

// A row with logits z, label y, smoothing ε, C classes with finite logits of weight w_c:
// (1 − ε) w_y (log Σ exp z − z_y) + ε / C Σ w_c (log Σ exp z − z_c); dy (empty: not wanted) its gradient
// over `total`, zero where that is. kernel(warp, i).
struct cross_entropy {
  device_view dy;
  const_device_view y;
  float* losses;  // of each row
  const std::int32_t* labels;
  const float* weights;  // null: all 1
  const float* total;
  float smoothing;
  std::int32_t ignored;

  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const std::int32_t label = labels[i];
    if (label == ignored) {
      if (dy.data)
        w.each(y.cols, [&](index_t c) { dy.set(i, c, 0); });
      w.each(1, [&](index_t) { losses[i] = 0; });
      return;
    }
    const auto weight = [&](index_t c) { return weights ? weights[c] : 1.0f; };
    const float most = w.max(y.cols, [&](index_t c) { return y(i, c); });
    const auto z = [&](index_t c) { return y(i, c) - most; };
    const float log = logf(w.sum(y.cols, [&](index_t c) { return expf(z(c)); }));
    const float own = (1 - smoothing) * weight(label);
    float loss = own * (log - z(label)), each = 0, together = 0;
    if (smoothing > 0) {
      const auto possible = [&](index_t c) { return is_finite(z(c)); };
      each = smoothing / w.sum(y.cols, [&](index_t c) { return possible(c) ? 1.0f : 0.0f; });
      together = w.sum(y.cols, [&](index_t c) { return possible(c) ? weight(c) : 0.0f; });
      loss += each * w.sum(y.cols, [&](index_t c) {
        return possible(c) ? weight(c) * (log - z(c)) : 0.0f;
      });
    }
    if (dy.data)
      w.each(y.cols, [&](index_t c) {
        if (!is_finite(z(c)) || *total == 0) {
          dy.set(i, c, 0);
          return;
        }
        const float p = expf(z(c) - log);
        dy.set(i, c, (own * (p - (c == label ? 1.0f : 0.0f)) + each * (together * p - weight(c))) / *total);
      });
    w.each(1, [&](index_t) { losses[i] = loss; });
  }
};

// Σ (y − target)² of a row; dy = 2 (y − target) / n over all n elements. kernel(warp, i).
struct squared_error {
  device_view dy;
  const_device_view y, target;
  float* losses;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float n = static_cast<float>(y.size());
    const float sum = w.sum(y.cols, [&](index_t j) {
      const float d = y(i, j) - target(i, j);
      return d * d;
    });
    if (dy.data)
      w.each(y.cols, [&](index_t j) { dy.set(i, j, 2 * (y(i, j) - target(i, j)) / n); });
    w.each(1, [&](index_t) { losses[i] = sum; });
  }
};

// The mean of n losses, over their total weight; 0 where there is none. kernel(warp, 0).
struct mean_loss {
  float* mean;
  const float *losses, *total;
  index_t n;
  GRAFT_DEVICE void operator()(warp w, index_t) const {
    const float sum = w.sum(n, [&](index_t i) { return losses[i]; });
    w.each(1, [&](index_t) { *mean = *total == 0 ? 0 : sum / *total; });
  }
};

}  // namespace graft::kernels
