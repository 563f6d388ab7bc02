// SPDX-License-Identifier: MIT
// Losses of the reference backend.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace graft::detail {

// log Σ exp(x).
inline double log_sum(const std::vector<double>& x) {
  double most = -std::numeric_limits<double>::infinity(), sum = 0;
  for (double value : x)
    most = std::max(most, value);
  for (double value : x)
    sum += std::exp(value - most);
  return x.empty() ? most : most + std::log(sum);
}

template <class T>
struct reference_loss {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  static T cross_entropy(view dy, const_view y, const cross_entropy_call<T>& call) {
    const double smoothing = double(call.smoothing);
    const auto weight = [&](index_t c) {
      return call.weights.empty() ? 1.0 : double(call.weights[std::size_t(c)]);
    };
    double total = 0;  // the weight of the rows that count
    for (std::int32_t label : call.labels)
      total += label == call.ignored ? 0.0 : weight(label);
    for (index_t i = 0; dy.data && i < dy.rows; ++i)
      std::fill_n(dy.row(i), dy.cols, T(0));
    if (total == 0)
      return T(0);
    double loss = 0;
    for (index_t i = 0; i < y.rows; ++i) {
      const index_t label = call.labels[std::size_t(i)];
      if (label == call.ignored)
        continue;
      const std::vector<double> z = shifted(y, i);
      const double log = log_sum(z);
      loss += (1 - smoothing) * weight(label) * (log - z[std::size_t(label)]);
      double classes = 0, weights = 0;  // those that the row can be of
      for (index_t c = 0; c < y.cols; ++c)
        if (std::isfinite(z[std::size_t(c)])) {
          classes += 1;
          weights += weight(c);
        }
      for (index_t c = 0; c < y.cols; ++c) {
        if (!std::isfinite(z[std::size_t(c)]))
          continue;
        const double p = std::exp(z[std::size_t(c)] - log);
        loss += smoothing / classes * weight(c) * (log - z[std::size_t(c)]);
        if (dy.data)
          dy(i, c) = T(((1 - smoothing) * weight(label) * (p - (c == label)) +
                        smoothing / classes * (weights * p - weight(c))) /
                       total);
      }
    }
    return T(loss / total);
  }

  static T squared_error(view dy, const_view y, const_view target) {
    const double n = double(y.size());
    double sum = 0;
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        const double d = double(y(i, j)) - double(target(i, j));
        sum += d * d;
        if (dy.data)
          dy(i, j) = T(2 * d / n);
      }
    return n > 0 ? T(sum / n) : T(0);
  }

  static void softmax(view y, const_view x) {
    for (index_t i = 0; i < x.rows; ++i) {
      const std::vector<double> z = shifted(x, i);
      const double log = log_sum(z);
      for (index_t j = 0; j < x.cols; ++j)
        y(i, j) = T(std::exp(z[std::size_t(j)] - log));
    }
  }

 private:
  // Row i minus its largest number.
  static std::vector<double> shifted(const_view x, index_t i) {
    std::vector<double> z(x.row(i), x.row(i) + x.cols);
    const double most = z.empty() ? 0.0 : *std::max_element(z.begin(), z.end());
    for (double& value : z)
      value -= most;
    return z;
  }
};

}  // namespace graft::detail
