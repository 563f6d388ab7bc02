// SPDX-License-Identifier: MIT
// Losses on a device: each row's, then their mean.
#pragma once

#include <graft/backend/cuda/answers.hpp>
#include <graft/backend/cuda/device_view.hpp>
#include <graft/backend/cuda/kernels/loss.hpp>
#include <graft/backend/cuda/staging.hpp>
#include <graft/core/backend.hpp>
#include <graft/core/reading.hpp>

#include <cstddef>
#include <cstdint>

namespace graft::detail {

template <class Device>
reading mean_loss_on(const scratch_matrix<Device>& losses, const staged_values<Device, float>& total) {
  reading mean;
  const answers<Device, 1> where(&mean);
  Device::warps(1, kernels::mean_loss{where[0], losses.floats(), total.data(), losses.rows});
  where.read();
  return mean;
}

template <class Device>
reading cross_entropy_on(device_view dy, const_device_view y, const cross_entropy_call<float>& call) {
  double total = 0;  // the weight of the rows that count
  for (const std::int32_t label : call.labels)
    if (label != call.ignored)
      total += call.weights.empty() ? 1.0 : double(call.weights[std::size_t(label)]);
  const staged_values<Device, float> over(static_cast<float>(total));
  const staged_values<Device, std::int32_t> labels(call.labels);
  const staged_values<Device, float> weights(call.weights);
  const scratch_matrix<Device> losses(y.rows, 1, number_type::f32);
  Device::warps(y.rows, kernels::cross_entropy{dy, y, losses.floats(), labels.data(),
                                               call.weights.empty() ? nullptr : weights.data(),
                                               over.data(), call.smoothing, call.ignored});
  return mean_loss_on(losses, over);
}

template <class Device>
reading squared_error_on(device_view dy, const_device_view y, const_device_view target) {
  const staged_values<Device, float> over(static_cast<float>(y.size()));
  const scratch_matrix<Device> losses(y.rows, 1, number_type::f32);
  Device::warps(y.rows, kernels::squared_error{dy, y, target, losses.floats()});
  return mean_loss_on(losses, over);
}

}  // namespace graft::detail
