// SPDX-License-Identifier: MIT
// The optimizers' steps on a device, and what decides about one; as gpu says (gpu.hpp).
#pragma once

#include <graft/backend/cuda/answers.hpp>
#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/update.hpp>
#include <graft/backend/cuda/staging.hpp>
#include <graft/backend/cuda/step_state.hpp>
#include <graft/core/backend.hpp>

#include <cmath>
#include <span>

namespace graft::detail {

// Σ g² of its blocks.
template <class Device>
struct block_squares {
  scratch_matrix<Device> sums;
  explicit block_squares(const_device_view g)
      : sums((g.size() + kernels::squares_block::block - 1) / kernels::squares_block::block, 1,
             number_type::f32) {
    Device::warps(sums.rows, kernels::squares_block{sums.floats(), g});
  }
};

template <class Device>
void sgd_on(device_view w, device_view v, const_device_view g,
            std::span<const kernels::segment_terms> segments, const sgd_call<float>& call,
            const device_step_state<Device>* state) {
  const staged_values<Device, kernels::segment_terms> rates(segments);
  const staged_values<Device, kernels::step_terms> own(kernels::step_terms{call.gradient_scale, 1, 1});
  Device::each(w.rows, w.cols,
               kernels::sgd_update{w, v, g, rates.data(), static_cast<index_t>(segments.size()),
                                   state ? state->terms() : own.data(), call.momentum, call.nesterov});
}
template <class Device>
void adam_on(device_view w, device_view m, device_view v, const_device_view g,
             std::span<const kernels::segment_terms> segments, const adam_call<float>& call,
             const device_step_state<Device>* state) {
  const auto correction = [&](float beta) {
    return static_cast<float>(1 - std::pow(double(beta), double(call.step)));
  };
  const staged_values<Device, kernels::segment_terms> rates(segments);
  const staged_values<Device, kernels::step_terms> own(kernels::step_terms{
      call.gradient_scale, correction(call.beta1), correction(call.beta2)});
  Device::each(w.rows, w.cols,
               kernels::adam_update{w, m, v, g, rates.data(), static_cast<index_t>(segments.size()),
                                    state ? state->terms() : own.data(), call.beta1, call.beta2,
                                    call.epsilon});
}

// `scaled`: the loss is.
template <class Device>
step_verdict judge_on(device_step_state<Device>& state, const_device_view g, double limit, double beta1,
                      double beta2, bool scaled) {
  const block_squares<Device> parts(g);
  step_verdict told;
  const answers<Device, 2> where(&told.norm, &told.scale);
  Device::warps(1, kernels::judge_step{state.state(), where[0], where[1], parts.sums.floats(),
                                       parts.sums.rows, static_cast<float>(limit),
                                       static_cast<float>(std::log(beta1)),
                                       static_cast<float>(std::log(beta2)), scaled});
  where.read();
  return told;
}

}  // namespace graft::detail
