// SPDX-License-Identifier: MIT
// Kernels in which a warp makes one row: kernel(warp, i) for every row i.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

// y (+)= s Σ_j a ∘ b
struct dot_rows {
  device_view y;
  const_device_view a, b;
  float s;
  bool add;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float dot = s * w.sum(a.cols, [&](index_t j) { return a(i, j) * b(i, j); });
    w.each(1, [&](index_t) { y.set(i, 0, (add ? y(i, 0) : 0.0f) + dot); });
  }
};

// |x| counts as at least 1e-12: a row of zeros stays one.
struct normalize_rows {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float squares = w.sum(x.cols, [&](index_t j) { return x(i, j) * x(i, j); });
    const float norm = fmaxf(sqrtf(squares), 1e-12f);
    w.each(x.cols, [&](index_t j) { y.set(i, j, x(i, j) / norm); });
  }
};

struct softmax {
  device_view y;
  const_device_view x;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float most = w.max(x.cols, [&](index_t j) { return x(i, j); });
    const float sum = w.sum(x.cols, [&](index_t j) { return expf(x(i, j) - most); });
    w.each(x.cols, [&](index_t j) { y.set(i, j, expf(x(i, j) - most) / sum); });
  }
};

// y = (x − mean) / √(var + ε) · gain + bias; stats = mean, 1 / √(var + ε)
struct layer_norm {
  device_view y, stats;
  const_device_view x, gain, bias;
  float epsilon;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float n = static_cast<float>(x.cols);
    const float mean = w.sum(x.cols, [&](index_t j) { return x(i, j); }) / n;
    const float variance = w.sum(x.cols, [&](index_t j) {
      const float d = x(i, j) - mean;
      return d * d;
    }) / n;
    const float inverse = 1 / sqrtf(variance + epsilon);
    w.each(x.cols, [&](index_t j) {
      y.set(i, j, (x(i, j) - mean) * inverse * gain(0, j) + bias(0, j));
    });
    w.each(2, [&](index_t j) { stats.set(i, j, j == 0 ? mean : inverse); });
  }
};

// With g = dy ∘ gain and z the normalised row: dx = (g − mean(g) − z mean(g ∘ z)) / √(var + ε)
struct layer_norm_backward {
  device_view dx;
  const_device_view dy, x, stats, gain;
  GRAFT_DEVICE void operator()(warp w, index_t i) const {
    const float n = static_cast<float>(x.cols), mean = stats(i, 0), inverse = stats(i, 1);
    const auto g = [&](index_t j) { return dy(i, j) * gain(0, j); };
    const auto z = [&](index_t j) { return (x(i, j) - mean) * inverse; };
    const float sum = w.sum(x.cols, g) / n;
    const float dot = w.sum(x.cols, [&](index_t j) { return g(j) * z(j); }) / n;
    w.each(x.cols, [&](index_t j) { dx.set(i, j, inverse * (g(j) - sum - z(j) * dot)); });
  }
};

}  // namespace graft::kernels
