// SPDX-License-Identifier: MIT
// How well predicted numbers follow the true ones.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <span>
#include <vector>

namespace graft {

// Σ (a − ā)(b − b̄) / √(Σ (a − ā)² · Σ (b − b̄)²), in [-1, 1]. 0 for fewer than 2 values and where a
// side is constant; NaN where a value is infinite or NaN. Throws shape_error for other lengths.
GRAFT_PLAIN double pearson(std::span<const double> a, std::span<const double> b);

// Pearson's correlation of the ranks, equal values sharing the mean of theirs. 0 for fewer than 2
// values and where a side is constant; NaN where a value is NaN. Throws shape_error for other
// lengths.
GRAFT_PLAIN double spearman(std::span<const double> a, std::span<const double> b);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

inline bool all_equal(std::span<const double> values) {
  return std::all_of(values.begin(), values.end(), [&](double v) { return v == values[0]; });
}

// Values, not all equal, minus their mean, over the largest of the differences: their squares
// neither overflow nor vanish. The first value goes before the mean is taken, so that a great
// offset takes no digits.
inline std::vector<double> centred(std::span<const double> values) {
  std::vector<double> c(values.begin(), values.end());
  for (double& v : c)
    v -= values[0];
  const double mean = std::accumulate(c.begin(), c.end(), 0.0) / static_cast<double>(c.size());
  double largest = 0;
  for (double& v : c) {
    v -= mean;
    largest = std::max(largest, std::abs(v));
  }
  for (double& v : c)
    v /= largest;
  return c;
}

// 1 for the least; values that are equal share the mean of their ranks.
inline std::vector<double> average_ranks(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (std::size_t from = 0, to = 0; from < order.size(); from = to) {
    while (to < order.size() && values[order[to]] == values[order[from]])
      ++to;
    for (std::size_t i = from; i < to; ++i)
      ranks[order[i]] = 0.5 * static_cast<double>(from + 1 + to);
  }
  return ranks;
}

}  // namespace detail

GRAFT_PLAIN double pearson(std::span<const double> a, std::span<const double> b) {
  expect_size("pearson: values", static_cast<index_t>(a.size()), static_cast<index_t>(b.size()));
  if (detail::all_equal(a) || detail::all_equal(b))  // so are fewer than 2
    return 0;
  const std::vector<double> x = detail::centred(a), y = detail::centred(b);
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    xy += x[i] * y[i];
    xx += x[i] * x[i];
    yy += y[i] * y[i];
  }
  return std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
}

GRAFT_PLAIN double spearman(std::span<const double> a, std::span<const double> b) {
  expect_size("spearman: values", static_cast<index_t>(a.size()), static_cast<index_t>(b.size()));
  const auto is_nan = [](double v) { return std::isnan(v); };
  if (std::any_of(a.begin(), a.end(), is_nan) || std::any_of(b.begin(), b.end(), is_nan))
    return std::numeric_limits<double>::quiet_NaN();
  return pearson(detail::average_ranks(a), detail::average_ranks(b));
}

}  // namespace graft

#endif
