// SPDX-License-Identifier: MIT
#include "support/halving.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace programs {

namespace {

constexpr std::size_t eta = 3;
constexpr std::size_t least_dev = 100;

std::size_t rung_count(std::size_t candidates, std::size_t last) {
  std::size_t count = 1;
  for (; candidates > last; candidates = (candidates + eta - 1) / eta)
    ++count;
  return count;
}

rung shaped(std::size_t candidates, double passes, const training_sizes& sizes) {
  const auto all = static_cast<double>(sizes.train);
  rung r{candidates, sizes.train, sizes.dev, 1};
  if (passes >= all)
    r.epochs = static_cast<int>(passes / all);
  else
    r.examples = std::clamp(static_cast<std::size_t>(passes), std::min(sizes.least, sizes.train),
                            sizes.train);
  return r;
}

}  // namespace

double seconds_of(const training_cost& cost, const rung& r) {
  return cost.start + r.epochs * (cost.per_train_example * static_cast<double>(r.examples) +
                                  cost.per_dev_example * static_cast<double>(r.dev));
}

std::vector<rung> rungs_of(std::size_t candidates, double passes, const training_sizes& sizes,
                           std::size_t last) {
  const std::size_t count = rung_count(candidates, last);
  std::vector<rung> rungs;
  for (std::size_t k = 0; k < count; ++k, candidates = (candidates + eta - 1) / eta) {
    rung r = shaped(candidates, passes / std::pow(eta, count - 1 - k), sizes);
    if (k + 1 < count)
      r.dev = std::min(sizes.dev, std::max(least_dev, r.examples));
    rungs.push_back(r);
  }
  return rungs;
}

double seconds_of(std::span<const rung> rungs, std::vector<training_cost> costs) {
  double sum = 0;
  for (const rung& r : rungs) {
    std::sort(costs.begin(), costs.end(),
              [&](const auto& a, const auto& b) { return seconds_of(a, r) > seconds_of(b, r); });
    for (std::size_t i = 0; i < std::min(r.candidates, costs.size()); ++i)
      sum += seconds_of(costs[i], r);
  }
  return sum;
}

std::vector<rung> planned(const std::vector<training_cost>& costs, double seconds,
                          const training_sizes& sizes) {
  const std::size_t n = costs.size();
  const double most = static_cast<double>(sizes.train) * sizes.epochs;
  const double first = static_cast<double>(std::min(sizes.least, sizes.train));
  const auto fits = [&](double passes, std::size_t last) {
    return seconds_of(rungs_of(n, passes, sizes, last), costs) <= seconds;
  };
  for (const std::size_t last : {std::size_t{3}, std::size_t{1}})
    if (fits(most, last))
      return rungs_of(n, most, sizes, last);
  double low = std::min(most, first * std::pow(eta, rung_count(n, 1) - 1)), high = most;
  if (!fits(low, 1))
    return {};
  for (int i = 0; i < 40; ++i) {
    const double middle = std::sqrt(low * high);
    (fits(middle, 1) ? low : high) = middle;
  }
  return rungs_of(n, low, sizes, 1);
}

}  // namespace programs
