// SPDX-License-Identifier: MIT
// Steps of the optimizers of the reference backend.
#pragma once

#include <graft/core/backend.hpp>

#include <cmath>
#include <cstddef>
#include <span>

namespace graft::detail {

template <class T>
struct reference_update {
  static double squared_norm(std::span<const T> g) {
    double sum = 0;
    for (T x : g)
      sum += double(x) * double(x);
    return sum;
  }

  static void sgd_update(std::span<T> w, std::span<T> v, std::span<const T> g,
                         const sgd_call<T>& call) {
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gi = double(g[i]) * call.gradient_scale;
      const double vi = double(call.momentum) * v[i] + gi;
      const double step = call.nesterov ? gi + call.momentum * vi : vi;
      w[i] = T(w[i] * (1.0 - double(call.rate) * call.decay) - call.rate * step);
      v[i] = T(vi);
    }
  }

  static void adam_update(std::span<T> w, std::span<T> m, std::span<T> v, std::span<const T> g,
                          const adam_call<T>& call) {
    const double bias1 = 1 - std::pow(double(call.beta1), double(call.step));
    const double bias2 = 1 - std::pow(double(call.beta2), double(call.step));
    for (std::size_t i = 0; i < w.size(); ++i) {
      const double gi = double(g[i]) * call.gradient_scale;
      const double mi = double(call.beta1) * m[i] + (1 - double(call.beta1)) * gi;
      const double vi = double(call.beta2) * v[i] + (1 - double(call.beta2)) * gi * gi;
      const double step = (mi / bias1) / (std::sqrt(vi / bias2) + double(call.epsilon));
      w[i] = T(w[i] * (1.0 - double(call.rate) * call.decay) - call.rate * step);
      m[i] = T(mi);
      v[i] = T(vi);
    }
  }
};

}  // namespace graft::detail
