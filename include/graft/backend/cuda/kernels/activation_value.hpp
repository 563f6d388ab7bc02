// SPDX-License-Identifier: MIT
// Activations and their slopes, of one number (core/activation.hpp has what they are).
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>

namespace graft::kernels {

GRAFT_DEVICE inline float activated(activation f, float x) {
  constexpr float half_root = 0.70710678118654752440f;    // 1 / √2
  constexpr float two_over_pi = 0.79788456080286535588f;  // √(2 / π)
  switch (f) {
    case activation::identity: return x;
    case activation::relu: return x > 0 ? x : 0;
    case activation::gelu: return 0.5f * x * erfcf(-x * half_root);
    case activation::gelu_tanh:
      return 0.5f * x * (1 + tanhf(two_over_pi * (x + 0.044715f * x * x * x)));
    case activation::silu: return x / (1 + expf(-x));
    case activation::tanh: return tanhf(x);
    case activation::sigmoid: return 1 / (1 + expf(-x));
    case activation::leaky_relu: return x > 0 ? x : 0.01f * x;
  }
  return x;
}

GRAFT_DEVICE inline float slope_of(activation f, float x) {
  constexpr float half_root = 0.70710678118654752440f;
  constexpr float two_over_pi = 0.79788456080286535588f;
  constexpr float over_root_tau = 0.39894228040143267794f;  // 1 / √(2π)
  switch (f) {
    case activation::identity: return 1;
    case activation::relu: return x > 0 ? 1.0f : 0.0f;
    case activation::gelu:
      return 0.5f * erfcf(-x * half_root) + x * over_root_tau * expf(-0.5f * x * x);
    case activation::gelu_tanh: {
      const float t = tanhf(two_over_pi * (x + 0.044715f * x * x * x));
      return 0.5f * (1 + t) +
             0.5f * x * (1 - t * t) * two_over_pi * (1 + 3 * 0.044715f * x * x);
    }
    case activation::silu: {
      const float s = 1 / (1 + expf(-x));
      return s * (1 + x * (1 - s));
    }
    case activation::tanh: {
      const float t = tanhf(x);
      return 1 - t * t;
    }
    case activation::sigmoid: {
      const float s = 1 / (1 + expf(-x));
      return s * (1 - s);
    }
    case activation::leaky_relu: return x > 0 ? 1.0f : 0.01f;
  }
  return 1;
}

}  // namespace graft::kernels
