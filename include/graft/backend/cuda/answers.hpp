// SPDX-License-Identifier: MIT
// Numbers that a kernel finds and the host reads.
#pragma once

#include <graft/backend/cuda/staging.hpp>
#include <graft/core/reading.hpp>

#include <array>
#include <cstddef>
#include <tuple>

namespace graft::detail {

// A kernel writes the i-th to [i]; they are read at once or, within a step, when they are asked for.
template <class Device, std::size_t N>
class answers {
 public:
  template <class... R>
  explicit answers(R*... to) : to_{to...}, now_(Device::in_step() ? 0 : N, 1, number_type::f32) {
    for (std::size_t i = 0; i < N; ++i)
      if (Device::in_step())
        std::tie(at_[i], *to_[i]) = Device::recorder().answer();
      else
        at_[i] = now_.floats() + i;
  }
  float* operator[](std::size_t i) const { return at_[i]; }
  void read() const {
    if (now_.rows == 0)
      return;
    std::array<float, N> found;
    Device::download(found.data(), now_.data, sizeof found);
    for (std::size_t i = 0; i < N; ++i)
      *to_[i] = static_cast<double>(found[i]);
  }

 private:
  std::array<reading*, N> to_;
  std::array<float*, N> at_;
  scratch_matrix<Device> now_;
};

}  // namespace graft::detail
