// SPDX-License-Identifier: MIT
// What a device keeps of a training beside parameters and moments.
#pragma once

#include <graft/backend/cuda/kernels/update.hpp>
#include <graft/backend/cuda/storage.hpp>
#include <graft/core/reading.hpp>

#include <array>
#include <cstddef>
#include <cstdint>

namespace graft {

// What was found about a step's gradient.
struct step_verdict {
  reading norm, scale;
};

// The scale of the loss, and how many steps were taken: what decides about the next one, without the host.
template <class Device>
class device_step_state {
 public:
  device_step_state() = default;
  explicit device_step_state(float scale) : memory_(1, count) { set({scale, 0, 0}); }

  // Scale, good steps since it was changed, steps taken.
  std::array<float, 3> numbers() const {
    kernels::step_state now;
    Device::download(&now, memory_.data, sizeof now);
    return {now.loss_scale, now.good, now.taken};
  }
  void set(const std::array<float, 3>& n) {
    const kernels::step_state now{n[0], n[1], n[2], {1, 1, 1}};
    Device::upload(memory_.data, &now, sizeof now);
    Device::wait();
  }

  kernels::step_state* state() const {
    return static_cast<kernels::step_state*>(static_cast<void*>(memory_.data));
  }
  const kernels::step_terms* terms() const { return &state()->terms; }
  const float* loss_scale() const { return &state()->loss_scale; }

 private:
  static constexpr index_t count = sizeof(kernels::step_state) / sizeof(float);
  device_parameter<Device> memory_;
};

}  // namespace graft
