// SPDX-License-Identifier: MIT
// Gradient norms and optimizer steps of the CPU backend, one pass over a segment.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>

namespace graft {

template <class T>
double cpu<T>::squared_norm(const_view g) {
  constexpr index_t block = 4096;
  const index_t n = g.size();
  const auto square = [](const detail::lane<T>& v) {
    return v.template as<double>().square();
  };
  return detail::sum_blocks((n + block - 1) / block, n, [&](index_t b) {
    return detail::sum_lanes(std::min(block, n - b * block), square, g.data + b * block);
  });
}

template <class T>
void cpu<T>::sgd_update(view w, view v, const_view g, const sgd_call<T>& call) {
  using lane = detail::lane<T>;
  const index_t n = w.size();
  const T keep = T(1) - call.rate * call.decay;
  const auto step = [=](lane& weight, lane& speed, lane& gradient) {
    gradient *= call.gradient_scale;
    speed = call.momentum * speed + gradient;
    if (call.nesterov)
      weight = keep * weight - call.rate * (gradient + call.momentum * speed);
    else
      weight = keep * weight - call.rate * speed;
  };
  detail::for_each_lane(1, n, step, view{w.data, 1, n}, view{v.data, 1, n},
                        const_view{g.data, 1, n});
}

template <class T>
void cpu<T>::adam_update(view w, view m, view v, const_view g, const adam_call<T>& call) {
  using lane = detail::lane<T>;
  const index_t n = w.size();
  const double steps = static_cast<double>(call.step);
  const double bias1 = 1 - std::pow(static_cast<double>(call.beta1), steps);
  const double bias2 = 1 - std::pow(static_cast<double>(call.beta2), steps);
  const T rate = static_cast<T>(static_cast<double>(call.rate) / bias1);
  const T inverse_root = static_cast<T>(1 / std::sqrt(bias2));
  const T keep = T(1) - call.rate * call.decay;
  const auto step = [=](lane& weight, lane& mean, lane& square, lane& gradient) {
    gradient *= call.gradient_scale;
    mean = call.beta1 * mean + (T(1) - call.beta1) * gradient;
    square = call.beta2 * square + (T(1) - call.beta2) * gradient.square();
    weight = keep * weight - rate * mean / (square.sqrt() * inverse_root + call.epsilon);
  };
  detail::for_each_lane(1, n, step, view{w.data, 1, n}, view{m.data, 1, n},
                        view{v.data, 1, n}, const_view{g.data, 1, n});
}

}  // namespace graft
