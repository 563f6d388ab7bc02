// SPDX-License-Identifier: MIT
// The ways to make one low-rank update of several, and their arithmetic on values in a row.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// What becomes of updates s_i B_i A_i with weights w_i, s_i being α / r or α / √r:
//
// | combination | result                                                          | rank        |
// | cat         | Σ w_i s_i B_i A_i, exactly: A = [w_i s_i A_i], B = [B_i]         | Σ r_i       |
// | svd         | its best approximation: B = U S, A = Vᵀ                         | svd_rank    |
// | linear      | A = Σ ± √|w_i s_i| A_i, B = Σ √|w_i s_i| B_i, ± the sign of w_i  | r, of all   |
//
// B A of linear has terms B_i A_j of any two adapters: it is the sum for one adapter only.
//
// The others change values before they are added: A_i and B_i by themselves, with the roots above
// for weights, or, where the name ends in svd, s_i B_i A_i, with w_i, the sum being decomposed.
//
// | magnitude_prune | the share `density` of greatest magnitude stays, the rest becomes 0     |
// | dare_linear     | each stays with probability `density`, divided by it, or becomes 0      |
// | ties            | as magnitude_prune; then each place has a sign, the one that prevails   |
// |                 | among its values before weights, and the values of that sign are        |
// |                 | averaged: their weighted sum, divided by how many they are              |
// | dare_ties       | as dare_linear, then as ties                                            |
//
// These are PEFT's, to the last term. Yadav et al. 2023, arXiv:2306.01708 (TIES); Yu et al. 2023,
// arXiv:2311.03099 (DARE).
enum class combination : unsigned char {
  cat,
  svd,
  linear,
  magnitude_prune,
  magnitude_prune_svd,
  dare_linear,
  dare_linear_svd,
  ties,
  ties_svd,
  dare_ties,
  dare_ties_svd
};

inline constexpr std::array<std::pair<std::string_view, combination>, 11> combination_names{
    {{"cat", combination::cat},
     {"svd", combination::svd},
     {"linear", combination::linear},
     {"magnitude_prune", combination::magnitude_prune},
     {"magnitude_prune_svd", combination::magnitude_prune_svd},
     {"dare_linear", combination::dare_linear},
     {"dare_linear_svd", combination::dare_linear_svd},
     {"ties", combination::ties},
     {"ties_svd", combination::ties_svd},
     {"dare_ties", combination::dare_ties},
     {"dare_ties_svd", combination::dare_ties_svd}}};

constexpr std::string_view name_of(combination how) {
  for (const auto& [name, known] : combination_names)
    if (known == how)
      return name;
  return "";
}

// Throws input_error, listing those there are, for a name of none.
GRAFT_PLAIN combination combination_named(std::string_view name);

// The sign that prevails at a place: that of the sum of its values, or the one that more of them
// have. Where neither does, it is +.
enum class majority_sign : unsigned char { total, frequency };

// What becomes of what adapters hold beside low-rank updates, such as heads: it cannot be combined,
// for the outputs of heads of two tasks have nothing in common.
//   must_agree   adapters that have it must have the same
//   first        the first adapter that has it gives it
enum class rest_of_adapters : unsigned char { must_agree, first };

// | option   | meaning                                                              | default    |
// | how      | see above                                                            | cat        |
// | density  | share of values that stay, above 0 and at most 1; must be given      | 0          |
// |          | where values are pruned                                              |            |
// | elect    | which sign prevails (ties)                                           | total      |
// | svd_rank | of what is decomposed, at most what the matrix allows; by default    | none       |
// |          | the greatest rank that any adapter has anywhere                      |            |
// | seed     | of what dare leaves out                                              | 0          |
// | head     | what is no low-rank update                                           | must_agree |
struct combine_options {
  combination how = combination::cat;
  double density = 0;
  majority_sign elect = majority_sign::total;
  std::optional<int> svd_rank{};
  std::uint64_t seed = 0;
  rest_of_adapters head = rest_of_adapters::must_agree;
};

namespace detail {

// A combination in three steps: what is pruned and how, is a sign elected, what is it all about.
struct combination_steps {
  enum class pruning { none, magnitude, random } prune = pruning::none;
  bool elects = false;
  bool decomposes = false;  // … the updates, rather than being about A and B
};

constexpr combination_steps steps_of(combination how) {
  using enum combination_steps::pruning;
  switch (how) {
    case combination::cat:
    case combination::linear: return {};
    case combination::svd: return {none, false, true};
    case combination::magnitude_prune: return {magnitude, false, false};
    case combination::magnitude_prune_svd: return {magnitude, false, true};
    case combination::dare_linear: return {random, false, false};
    case combination::dare_linear_svd: return {random, false, true};
    case combination::ties: return {magnitude, true, false};
    case combination::ties_svd: return {magnitude, true, true};
    case combination::dare_ties: return {random, true, false};
    case combination::dare_ties_svd: return {random, true, true};
  }
  return {};
}

// Leaves the ⌊density · n⌋ values of greatest magnitude, of equal ones the first.
GRAFT_PLAIN void keep_greatest(std::vector<double>& values, double density);

// Leaves each value with probability `density`, divided by it: its expectation is what it was.
GRAFT_PLAIN void keep_some(std::vector<double>& values, double density, random_stream random);

// Σ w_i x_i at each place or, with an elected sign, that over the values of this sign, divided by
// how many they are.
GRAFT_PLAIN std::vector<double> added(const std::vector<std::vector<double>>& values,
                                      const std::vector<double>& weights,
                                      const std::optional<majority_sign>& elect);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN combination combination_named(std::string_view name) {
  std::string all;
  for (const auto& [known, how] : combination_names) {
    if (known == name)
      return how;
    all += (all.empty() ? "" : ", ") + std::string(known);
  }
  throw input_error("combination: expected one of " + all + ", found \"" + std::string(name) +
                    "\"");
}

namespace detail {

GRAFT_PLAIN void keep_greatest(std::vector<double>& values, double density) {
  const auto kept = static_cast<std::ptrdiff_t>(density * static_cast<double>(values.size()));
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::nth_element(order.begin(), order.begin() + kept, order.end(),
                   [&](std::size_t i, std::size_t j) {
                     const double a = std::abs(values[i]), b = std::abs(values[j]);
                     return a != b ? a > b : i < j;
                   });
  std::for_each(order.begin() + kept, order.end(), [&](std::size_t i) { values[i] = 0; });
}

GRAFT_PLAIN void keep_some(std::vector<double>& values, double density, random_stream random) {
  for (double& v : values)
    v = random.uniform() < density ? v / density : 0;
}

GRAFT_PLAIN std::vector<double> added(const std::vector<std::vector<double>>& values,
                                      const std::vector<double>& weights,
                                      const std::optional<majority_sign>& elect) {
  const auto sign = [](double x) { return (x > 0) - (x < 0); };
  std::vector<double> sum(values.front().size());
  for (std::size_t at = 0; at < sum.size(); ++at) {
    double majority = 0;
    if (elect)
      for (const auto& x : values)
        majority += *elect == majority_sign::total ? x[at] : sign(x[at]);
    int count = 0;
    for (std::size_t i = 0; i < values.size(); ++i)
      if (!elect || sign(values[i][at]) == (majority >= 0 ? 1 : -1)) {
        sum[at] += weights[i] * values[i][at];
        ++count;
      }
    if (elect)
      sum[at] /= std::max(count, 1);
  }
  return sum;
}

}  // namespace detail

}  // namespace graft

#endif
