// SPDX-License-Identifier: MIT
// Parting examples for training and evaluation with groups kept whole: parts of given shares, folds
// of a cross-validation; and weights against unequal classes. All in plain indices.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

using index_lists = std::vector<std::vector<std::uint32_t>>;

// Parts 0 .. n - 1 so that examples with equal groups[i] are in one part; the indices of each part
// ascend. `groups` may be empty: every example is a group of its own. So may `labels`: only sizes
// count then. `shares` are relative: 8, 1, 1 are 0.8, 0.1, 0.1. With n examples, n_k of them of
// class k, a part of share s wishes for s · n examples and s · n_k of each class. The rule:
//
//   Groups are placed from the largest to the smallest, equal ones in an order drawn from `seed`. A
//   group goes, among the parts that have room for all of it, to the one where it raises Pearson's
//   χ² = Σ_k (has_k − wish_k)² / wish_k least; where none has room, to the one with most room. As
//   soon as there are as many groups left as empty parts, each of these gets one.
//
// So a part is off its size by less than the largest group, unless groups are so few that the last
// sentence acts; classes are as near as that greedy order brings them. Equal seeds give equal
// parts. Throws input_error for a share that is not above 0 and for fewer groups than parts,
// shape_error when groups and labels differ in number.
GRAFT_PLAIN index_lists split_groups(std::span<const std::uint32_t> groups,
                                     std::span<const std::int32_t> labels,
                                     std::span<const double> shares, std::uint64_t seed);

// k parts of like size by the rule of split_groups, whose errors it has; another for k below 2.
GRAFT_PLAIN index_lists folds(std::span<const std::uint32_t> groups,
                              std::span<const std::int32_t> labels, std::size_t k, std::uint64_t seed);

// What fold i trains on, all parts but the i-th, and what it holds out; both ascend.
struct fold {
  std::vector<std::uint32_t> train;
  std::vector<std::uint32_t> held_out;
};

GRAFT_PLAIN fold fold_at(std::span<const std::vector<std::uint32_t>> parts, std::size_t i);

// Weights that give every class the same say: n / (c · n_k) for n examples, n_k of them of class k,
// and c classes that have examples; 0 for a class that has none. Their mean over the examples is 1.
// With all classes present these are scikit-learn's "balanced". Throws input_error for a label
// outside 0 .. classes - 1.
GRAFT_PLAIN std::vector<double> balanced_weights(std::span<const std::int32_t> labels,
                                                 std::size_t classes);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN index_lists folds(std::span<const std::uint32_t> groups,
                              std::span<const std::int32_t> labels, std::size_t k, std::uint64_t seed) {
  if (k < 2)
    throw input_error("folds: expected at least 2 folds, found " + std::to_string(k));
  return split_groups(groups, labels, std::vector<double>(k, 1.0), seed);
}

GRAFT_PLAIN fold fold_at(std::span<const std::vector<std::uint32_t>> parts, std::size_t i) {
  if (i >= parts.size())
    throw input_error("fold_at: expected a fold below " + std::to_string(parts.size()) +
                      ", found " + std::to_string(i));
  fold f{{}, parts[i]};
  for (std::size_t p = 0; p < parts.size(); ++p)
    if (p != i)
      f.train.insert(f.train.end(), parts[p].begin(), parts[p].end());
  std::sort(f.train.begin(), f.train.end());
  return f;
}

GRAFT_PLAIN std::vector<double> balanced_weights(std::span<const std::int32_t> labels,
                                                 std::size_t classes) {
  std::vector<double> weights(classes, 0.0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] < 0 || static_cast<std::size_t>(labels[i]) >= classes)
      throw input_error("balanced_weights: label " + std::to_string(i) +
                        ": expected a class below " + std::to_string(classes) + ", found " +
                        std::to_string(labels[i]));
    ++weights[static_cast<std::size_t>(labels[i])];
  }
  const auto present = static_cast<double>(
      std::count_if(weights.begin(), weights.end(), [](double n) { return n > 0; }));
  for (double& w : weights)
    if (w > 0)
      w = static_cast<double>(labels.size()) / (present * w);
  return weights;
}

namespace detail {

// The examples of one group, and how many of them each class has.
struct split_group {
  std::vector<std::uint32_t> members;
  std::map<std::int32_t, double> classes;
};

inline std::vector<split_group> list_groups(std::span<const std::uint32_t> groups,
                                            std::span<const std::int32_t> labels, std::size_t n) {
  std::map<std::uint32_t, std::size_t> places;
  std::vector<split_group> list;
  for (std::size_t i = 0; i < n; ++i) {
    const auto number = static_cast<std::uint32_t>(i);
    const auto [found, is_new] =
        places.try_emplace(groups.empty() ? number : groups[i], list.size());
    if (is_new)
      list.emplace_back();
    split_group& group = list[found->second];
    group.members.push_back(number);
    ++group.classes[labels.empty() ? 0 : labels[i]];
  }
  return list;
}

// A part on its way, with the number of examples it has of each class.
struct split_part {
  double share = 0;
  double room = 0;  // examples that it still wishes for
  std::vector<std::uint32_t> members{};
  std::map<std::int32_t, double> classes{};

  // By how much a group raises χ²: Σ_k ((has + g)² − has²) / wish over its classes, but for −2 g,
  // which is the same for all parts.
  double cost(const split_group& group, const std::map<std::int32_t, double>& totals) const {
    double sum = 0;
    for (const auto& [k, g] : group.classes) {
      const auto found = classes.find(k);
      const double has = found == classes.end() ? 0 : found->second;
      sum += g * (2 * has + g) / (share * totals.at(k));
    }
    return sum;
  }

  void take(const split_group& group) {
    members.insert(members.end(), group.members.begin(), group.members.end());
    for (const auto& [k, g] : group.classes)
      classes[k] += g;
    room -= static_cast<double>(group.members.size());
  }
};

}  // namespace detail

GRAFT_PLAIN index_lists split_groups(std::span<const std::uint32_t> groups,
                                     std::span<const std::int32_t> labels,
                                     std::span<const double> shares, std::uint64_t seed) {
  if (!groups.empty() && !labels.empty())
    expect_size("split_groups: labels", static_cast<index_t>(groups.size()),
                static_cast<index_t>(labels.size()));
  for (const double share : shares)
    if (!(share > 0) || !std::isfinite(share))
      throw input_error("split_groups: expected shares above 0, found " + std::to_string(share));
  const std::size_t n = std::max(groups.size(), labels.size());
  std::vector<detail::split_group> list = detail::list_groups(groups, labels, n);
  if (shares.empty() || list.size() < shares.size())
    throw input_error(
        "split_groups: expected at least as many groups as parts and at least one "
        "part, found " +
        std::to_string(list.size()) + " groups and " + std::to_string(shares.size()) + " parts");

  random_stream random(seed, hash_of("split_groups"));
  for (std::size_t i = list.size(); i > 1; --i)
    std::swap(list[i - 1], list[random.below(i)]);
  std::stable_sort(list.begin(), list.end(), [](const auto& a, const auto& b) {
    return a.members.size() > b.members.size();
  });

  std::map<std::int32_t, double> totals;
  for (const auto& group : list)
    for (const auto& [k, g] : group.classes)
      totals[k] += g;
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<detail::split_part> parts;
  for (const double share : shares)
    parts.push_back({share / sum, share * static_cast<double>(n) / sum});

  for (std::size_t i = 0; i < list.size(); ++i) {
    const auto size = static_cast<double>(list[i].members.size());
    const auto empty =
        std::count_if(parts.begin(), parts.end(), [](const auto& p) { return p.members.empty(); });
    const bool scarce = list.size() - i <= static_cast<std::size_t>(empty);
    detail::split_part* best = nullptr;
    double least = 0;
    for (auto& part : parts) {
      const bool fits = scarce ? part.members.empty() : part.room >= size;
      const double cost = fits ? part.cost(list[i], totals) : 0;
      if (fits && (!best || cost < least || (cost == least && part.room > best->room))) {
        best = &part;
        least = cost;
      }
    }
    if (!best)
      best = &*std::max_element(parts.begin(), parts.end(),
                                [](const auto& a, const auto& b) { return a.room < b.room; });
    best->take(list[i]);
  }

  index_lists indices;
  for (auto& part : parts) {
    std::sort(part.members.begin(), part.members.end());
    indices.push_back(std::move(part.members));
  }
  return indices;
}

}  // namespace graft

#endif
