// SPDX-License-Identifier: MIT
// Losses and softmax of the CPU backend.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>
#include <limits>

namespace graft {

// The loss of a row with logits z, label y, smoothing ε, C classes of weight w_c:
// (1 - ε) w_y (log Σ exp z - z_y) + ε / C Σ w_c (log Σ exp z - z_c), over classes with finite logits.
template <class T>
T cpu<T>::cross_entropy(view dy, const_view y, const cross_entropy_call<T>& call) {
  using lane = detail::lane<T>;
  const index_t classes = y.cols;
  const T* weights = call.weights.empty() ? nullptr : call.weights.data();
  const auto weight = [&](index_t c) { return weights ? weights[c] : T(1); };
  double total = 0;  // the weight of the rows that count
  for (std::int32_t label : call.labels)
    total += label == call.ignored ? 0.0 : static_cast<double>(weight(label));
  if (total == 0) {
    if (dy.data)
      fill(dy, T(0));
    return T(0);
  }
  const T inverse = static_cast<T>(1 / total), never = -std::numeric_limits<T>::infinity();
  const double loss = detail::sum_blocks(y.rows, y.size(), [&](index_t i) {
    const index_t label = call.labels[static_cast<std::size_t>(i)];
    if (label == call.ignored) {
      if (dy.data)
        std::fill_n(dy.row(i), classes, T(0));
      return 0.0;
    }
    const T* z = y.row(i);
    const T most = detail::max_of(z, classes);
    const auto power = [most](const lane& v) { return lane((v - most).exp()); };
    const T log = std::log(detail::sum_lanes(classes, power, z));  // of Σ exp(z - most)
    const T direct = (T(1) - call.smoothing) * weight(label);
    double row = static_cast<double>(direct * (log - (z[label] - most)));
    T smooth = 0, spread = 0;
    if (call.smoothing > T(0)) {
      T possible = 0;
      for (index_t c = 0; c < classes; ++c)
        possible += static_cast<T>(z[c] > never);
      smooth = call.smoothing / possible;
      for (index_t c = 0; c < classes; ++c)
        if (z[c] > never) {
          row += static_cast<double>(smooth * weight(c) * (log - (z[c] - most)));
          spread += smooth * weight(c);
        }
    }
    if (dy.data) {
      const T factor = (direct + spread) * inverse;
      const auto slope = [=](lane& out, lane& in) {
        out = lane::where_greater(in, never, factor * (in - most - log).exp(), 0);
      };
      detail::each_lane(classes, slope, dy.row(i), z);
      for (index_t c = 0; smooth > T(0) && c < classes; ++c)
        if (z[c] > never)
          dy(i, c) -= smooth * weight(c) * inverse;
      dy(i, label) -= direct * inverse;
    }
    return row;
  });
  return static_cast<T>(loss / total);
}

template <class T>
T cpu<T>::squared_error(view dy, const_view y, const_view target) {
  using lane = detail::lane<T>;
  if (y.size() == 0)
    return T(0);
  const T n = static_cast<T>(y.size());
  const double sum = detail::sum_blocks(y.rows, y.size(), [&](index_t i) {
    const T squares = detail::sum_lanes(
        y.cols, [](const lane& a, const lane& b) { return lane((a - b).square()); }, y.row(i),
        target.row(i));
    if (dy.data)
      detail::each_lane(
          y.cols, [n](lane& d, lane& a, lane& b) { d = (a - b) * (T(2) / n); }, dy.row(i), y.row(i),
          target.row(i));
    return static_cast<double>(squares);
  });
  return static_cast<T>(sum / static_cast<double>(n));
}

template <class T>
void cpu<T>::softmax(view y, const_view x) {
  using lane = detail::lane<T>;
  detail::for_each_block(x.rows, x.size(), [&](index_t i) {
    const T most = detail::max_of(x.row(i), x.cols);
    const auto power = [most](lane& out, lane& in) { out = (in - most).exp(); };
    detail::each_lane(x.cols, power, y.row(i), x.row(i));
    const T sum = detail::sum_lanes(
        x.cols, [](const lane& v) { return v; }, y.row(i));
    detail::each_lane(
        x.cols, [sum](lane& out) { out /= sum; }, y.row(i));
  });
}

}  // namespace graft
