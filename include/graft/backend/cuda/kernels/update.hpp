// SPDX-License-Identifier: MIT
// Steps of the optimizers, over all segments of a store in one launch, and what decides about a step.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

// Rate and decay from number `first` on, up to the next segment's.
struct segment_terms {
  index_t first;
  float rate, decay;
};

// What differs from step to step. A gradient_scale that is no number: the step is not taken.
struct step_terms {
  float gradient_scale;
  float correction1, correction2;  // 1 − β₁ᵗ, 1 − β₂ᵗ
};

// The segment of number j, of n that begin at number 0.
GRAFT_DEVICE inline const segment_terms& segment_at(const segment_terms* segments, index_t n,
                                                    index_t j) {
  index_t low = 0, high = n;
  while (high - low > 1) {
    const index_t middle = (low + high) / 2;
    (segments[middle].first <= j ? low : high) = middle;
  }
  return segments[low];
}

struct sgd_update {
  device_view w, v;
  const_device_view g;
  const segment_terms* segments;
  index_t count;
  const step_terms* step;
  float momentum;
  bool nesterov;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    if (step->gradient_scale != step->gradient_scale)
      return;
    const segment_terms& s = segment_at(segments, count, j);
    const float slope = g(i, j) * step->gradient_scale, speed = momentum * v(i, j) + slope;
    const float along = nesterov ? slope + momentum * speed : speed;
    w.set(i, j, w(i, j) * (1 - s.rate * s.decay) - s.rate * along);
    v.set(i, j, speed);
  }
};

struct adam_update {
  device_view w, m, v;
  const_device_view g;
  const segment_terms* segments;
  index_t count;
  const step_terms* step;
  float beta1, beta2, epsilon;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    if (step->gradient_scale != step->gradient_scale)
      return;
    const segment_terms& s = segment_at(segments, count, j);
    const float slope = g(i, j) * step->gradient_scale;
    const float mean = beta1 * m(i, j) + (1 - beta1) * slope;
    const float square = beta2 * v(i, j) + (1 - beta2) * slope * slope;
    const float along = (mean / step->correction1) / (sqrtf(square / step->correction2) + epsilon);
    w.set(i, j, w(i, j) * (1 - s.rate * s.decay) - s.rate * along);
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

// What a training keeps on the device from step to step.
struct step_state {
  float loss_scale;  // what the loss's gradient is multiplied with
  float good;        // steps since it was changed
  float taken;       // steps
  step_terms terms;  // of the step that is about to be taken
};

// A gradient of norm |g| = √ Σ sums is to be multiplied with min(1, limit / (|g| + 10⁻⁶)) (limit 0: with
// 1), and its step not to be taken where |g| is not finite. A scaled loss's scale is halved then, and
// doubled after `patience` good steps (Micikevicius et al. 2018, arXiv:1710.03740). kernel(warp, 0).
struct judge_step {
  static constexpr float patience = 2000, most_scale = 16777216.0f;
  step_state* state;
  float *norm, *scale;  // where it is told
  const float* sums;
  index_t n;
  float limit, log_beta1, log_beta2;
  bool scaled;
  GRAFT_DEVICE void operator()(warp w, index_t) const {
    const float length = sqrtf(w.sum(n, [&](index_t i) { return sums[i]; }));
    w.each(1, [&](index_t) {
      step_state& s = *state;
      const bool finite = length <= 3.402823466e38f;
      *norm = length;
      *scale = limit > 0 && length > limit ? limit / (length + 1e-6f) : 1.0f;
      s.terms.gradient_scale = finite ? *scale : NAN;
      if (finite) {
        s.taken += 1;
        s.terms.correction1 = -expm1f(s.taken * log_beta1);
        s.terms.correction2 = -expm1f(s.taken * log_beta2);
      }
      if (scaled) {
        s.good = finite ? s.good + 1 : 0;
        if (!finite)
          s.loss_scale = s.loss_scale > 1 ? s.loss_scale / 2 : 1.0f;
        else if (s.good == patience && s.loss_scale < most_scale) {
          s.loss_scale *= 2;
          s.good = 0;
        }
      }
    });
  }
};

// y times or over what stands on the device.
struct scale_by {
  device_view y;
  const float* s;
  bool over;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const {
    y.set(i, j, over ? y(i, j) / *s : y(i, j) * *s);
  }
};

}  // namespace graft::kernels
