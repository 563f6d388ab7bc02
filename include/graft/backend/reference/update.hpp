// SPDX-License-Identifier: MIT
// Steps of the optimizers of the reference backend.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/view.hpp>

#include <cmath>

namespace graft::detail {

template <class T>
struct reference_update {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  static double squared_norm(const_view g) {
    double sum = 0;
    for (index_t i = 0; i < g.size(); ++i)
      sum += double(g.data[i]) * double(g.data[i]);
    return sum;
  }

  static void sgd_update(view w, view v, const_view g, const sgd_call<T>& call) {
    for (index_t i = 0; i < w.size(); ++i) {
      const double gi = double(g.data[i]) * call.gradient_scale;
      const double vi = double(call.momentum) * v.data[i] + gi;
      const double step = call.nesterov ? gi + call.momentum * vi : vi;
      w.data[i] = T(w.data[i] * (1.0 - double(call.rate) * call.decay) - call.rate * step);
      v.data[i] = T(vi);
    }
  }

  static void adam_update(view w, view m, view v, const_view g, const adam_call<T>& call) {
    const double bias1 = 1 - std::pow(double(call.beta1), double(call.step));
    const double bias2 = 1 - std::pow(double(call.beta2), double(call.step));
    for (index_t i = 0; i < w.size(); ++i) {
      const double gi = double(g.data[i]) * call.gradient_scale;
      const double mi = double(call.beta1) * m.data[i] + (1 - double(call.beta1)) * gi;
      const double vi = double(call.beta2) * v.data[i] + (1 - double(call.beta2)) * gi * gi;
      const double step = (mi / bias1) / (std::sqrt(vi / bias2) + double(call.epsilon));
      w.data[i] = T(w.data[i] * (1.0 - double(call.rate) * call.decay) - call.rate * step);
      m.data[i] = T(mi);
      v.data[i] = T(vi);
    }
  }
};

}  // namespace graft::detail
