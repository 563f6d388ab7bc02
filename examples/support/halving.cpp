// SPDX-License-Identifier: MIT
#include "support/halving.hpp"

#include <algorithm>
#include <cmath>
#include <functional>

namespace programs {

namespace {

constexpr std::size_t eta = 3, enough = 3;  // candidates of the last rung
constexpr std::size_t least_dev = 100;

std::size_t rung_count(std::size_t candidates) {
  std::size_t count = 1;
  for (; candidates > enough; candidates = (candidates + eta - 1) / eta)
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

std::vector<rung> rungs_of(std::size_t candidates, double passes, const training_sizes& sizes) {
  const std::size_t count = rung_count(candidates);
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
  double low = std::min(most, first * std::pow(eta, rung_count(n) - 1)), high = most;
  const auto fits = [&](double passes) {
    return seconds_of(rungs_of(n, passes, sizes), costs) <= seconds;
  };
  if (fits(most))
    return rungs_of(n, most, sizes);
  if (!fits(low))
    return {};
  for (int i = 0; i < 40; ++i) {
    const double middle = std::sqrt(low * high);
    (fits(middle) ? low : high) = middle;
  }
  return rungs_of(n, low, sizes);
}

}  // namespace programs
