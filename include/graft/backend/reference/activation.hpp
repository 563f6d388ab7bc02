// SPDX-License-Identifier: MIT
// Activations of the reference backend.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/view.hpp>

#include <cmath>

namespace graft::detail {

template <class T>
struct reference_activation {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  static void activate(view y, const_view x, activation f) {
    each(y, [&](index_t i, index_t j) { y(i, j) = T(value(f, x(i, j))); });
  }
  static void activate_backward(view dx, const_view dy, const_view x, activation f) {
    each(dx, [&](index_t i, index_t j) { dx(i, j) = T(double(dy(i, j)) * slope(f, x(i, j))); });
  }

 private:
  template <class F>
  static void each(view v, const F& f) {
    for (index_t i = 0; i < v.rows; ++i)
      for (index_t j = 0; j < v.cols; ++j)
        f(i, j);
  }

  static constexpr double half_root = 0.70710678118654752440;      // 1 / √2
  static constexpr double two_over_pi = 0.79788456080286535588;    // √(2 / π)
  static constexpr double over_root_tau = 0.39894228040143267794;  // 1 / √(2π)

  static double value(activation f, double x) {
    switch (f) {
      case activation::identity:
        return x;
      case activation::relu:
        return x > 0 ? x : 0;
      case activation::gelu:
        return 0.5 * x * std::erfc(-x * half_root);
      case activation::gelu_tanh:
        return 0.5 * x * (1 + std::tanh(two_over_pi * (x + 0.044715 * x * x * x)));
      case activation::silu:
        return x / (1 + std::exp(-x));
      case activation::tanh:
        return std::tanh(x);
      case activation::sigmoid:
        return 1 / (1 + std::exp(-x));
      case activation::leaky_relu:
        return x > 0 ? x : 0.01 * x;
    }
    return x;
  }

  static double slope(activation f, double x) {
    switch (f) {
      case activation::identity:
        return 1;
      case activation::relu:
        return x > 0 ? 1 : 0;
      case activation::gelu:
        return 0.5 * std::erfc(-x * half_root) + x * over_root_tau * std::exp(-0.5 * x * x);
      case activation::gelu_tanh: {
        const double t = std::tanh(two_over_pi * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * two_over_pi * (1 + 3 * 0.044715 * x * x);
      }
      case activation::silu: {
        const double s = 1 / (1 + std::exp(-x));
        return s * (1 + x * (1 - s));
      }
      case activation::tanh:
        return 1 - std::tanh(x) * std::tanh(x);
      case activation::sigmoid: {
        const double s = 1 / (1 + std::exp(-x));
        return s * (1 - s);
      }
      case activation::leaky_relu:
        return x > 0 ? 1 : 0.01;
    }
    return 1;
  }
};

}  // namespace graft::detail
