// SPDX-License-Identifier: MIT
// One adapter made of several: weighted sums of low-rank updates, in the ways of combination.hpp.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/combination.hpp>
#include <graft/io/low_rank_update.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// Σ of A and Σ of B, each by itself, with roots of the weights.
GRAFT_PLAIN low_rank_sum added_factors(const std::string& path, const std::vector<low_rank_update>& of,
                                       const combine_options& options);

// Σ of the updates themselves, and of it the r greatest singular values and vectors.
template <backend B>
low_rank_sum decomposed_sum(const std::string& path, const std::vector<low_rank_update>& of,
                            const combine_options& options, index_t rank) {
  using parameter = typename B::parameter;
  const combination_steps steps = steps_of(options.how);
  std::vector<std::vector<double>> all;
  std::vector<double> weights;
  for (const low_rank_update& u : of) {
    weights.push_back(u.weight);
    all.push_back(pruned(product(u), steps.prune, options, path));
  }
  const std::vector<double> sum = added(all, weights, elected(steps, options));
  const index_t out = of.front().out, in = of.front().in, r = std::min({rank, out, in});
  parameter w(out, in), u(out, r), s(1, r), v(r, in);
  std::transform(sum.begin(), sum.end(), w.data,
                 [](double x) { return static_cast<typename B::scalar>(x); });
  B::svd(u, s, v, w);
  low_rank_sum result{r, std::vector<double>(v.data, v.data + v.size()),
                      std::vector<double>(static_cast<std::size_t>(out * r))};
  for (index_t k = 0; k < r; ++k) {
    if (!(s(0, k) > 0)) {  // no vectors belong to it
      const auto row = result.a.begin() + k * in;
      std::fill(row, row + in, 0.0);
      continue;
    }
    for (index_t i = 0; i < out; ++i)
      result.b[static_cast<std::size_t>(i * r + k)] = static_cast<double>(u(i, k) * s(0, k));
  }
  return result;
}

// The low-rank updates of each place, of those adapters that have one there, and the names of all
// their tensors.
struct updates_by_place {
  std::map<std::string, std::vector<low_rank_update>> at;
  std::set<std::string> tensors;
};

GRAFT_PLAIN updates_by_place updates_of(const std::vector<weighted_adapter>& adapters);

// What adapters hold beside low-rank updates.
GRAFT_PLAIN adapter_data rest_of(const std::vector<weighted_adapter>& adapters,
                                 const std::set<std::string>& of_updates,
                                 const combine_options& options);

// May one adapter stay as it is? A rank that is asked for may be another than its own.
GRAFT_PLAIN bool stays(const std::vector<weighted_adapter>& adapters, const updates_by_place& updates,
                       const combine_options& options);

}  // namespace detail

// One adapter of several, decorated with lora and nothing else: adapter i with weights[i].
//
// What becomes of the updates says combination.hpp. A place that only some of them decorate is
// combined from those; A and B are given, α is their rank, so that their product is the update, and
// the rest of lora's numbers are the first adapter's. Sums are in double, what svd decomposes is in
// B's numbers; the result has floats, or doubles where there are some. Adapters of weight 0 are
// left out, with all that they hold. One adapter of weight 1 is itself, bit for bit, whatever the
// method: there is nothing to combine, and nothing is pruned (but svd_rank, given, is the rank it
// gets).
//
// The order of the adapters changes rounding and whose `head` is first. What dare leaves out
// depends on the seed, the place and the adapter's own values there, not on the order; equal
// adapters leave out the same.
//
// Throws input_error for no adapters, other weights than one for each, weights that are not finite
// or all 0, options out of range, decorations that are no plain lora, heads that differ (see
// rest_of_adapters), and adapters of different bases; shape_error for sizes that differ at a place
// and, where A and B are added, for ranks that differ. Convolutions of groups take no cat and no
// svd.
template <backend B>
adapter_data combine(std::span<const adapter_data* const> adapters, std::span<const double> weights,
                     const combine_options& options = {}) {
  detail::expect_options(options);
  const auto taken = detail::weighted(adapters, weights);
  const auto updates = detail::updates_of(taken);
  if (detail::stays(taken, updates, options))
    return *taken.front().data;
  adapter_data result = detail::rest_of(taken, updates.tensors, options);
  const detail::combination_steps steps = detail::steps_of(options.how);
  index_t rank = options.svd_rank.value_or(0);
  if (!options.svd_rank)
    for (const auto& [path, there] : updates.at)
      for (const auto& u : there)
        rank = std::max(rank, u.rank);
  for (const auto& [path, there] : updates.at) {
    if (options.how == combination::cat || steps.decomposes)
      detail::expect_one_group(path, there.front(), options.how);
    detail::write_update(result, path, there,
                         options.how == combination::cat ? detail::stacked(there)
                         : steps.decomposes ? detail::decomposed_sum<B>(path, there, options, rank)
                                            : detail::added_factors(path, there, options));
  }
  return result;
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN low_rank_sum added_factors(const std::string& path, const std::vector<low_rank_update>& of,
                                       const combine_options& options) {
  const combination_steps steps = steps_of(options.how);
  for (const low_rank_update& u : of)
    if (u.rank != of.front().rank)
      throw shape_error("combine: " + path + ": " + std::string(name_of(options.how)) +
                        " expects adapters of one rank, found " + std::to_string(of.front().rank) +
                        " in " + of.front().source + " and " + std::to_string(u.rank) + " in " +
                        u.source + " (cat and what ends in svd take any)");
  const auto sum = [&](std::vector<double> low_rank_update::*values, std::string_view name,
                       bool with_sign) {
    std::vector<std::vector<double>> all;
    std::vector<double> weights;
    for (const low_rank_update& u : of) {
      const double root = std::sqrt(std::abs(u.weight * u.scale));
      weights.push_back(with_sign && u.weight * u.scale < 0 ? -root : root);
      all.push_back(pruned(u.*values, steps.prune, options, joined(path, name)));
    }
    return added(all, weights, elected(steps, options));
  };
  return {of.front().rank, sum(&low_rank_update::a, "a", true),
          sum(&low_rank_update::b, "b", false)};
}

GRAFT_PLAIN updates_by_place updates_of(const std::vector<weighted_adapter>& adapters) {
  updates_by_place all;
  for (const weighted_adapter& adapter : adapters)
    for (const auto& [path, methods] : adapter.data->decorations) {
      auto update = read_update(adapter, path, methods, all.tensors);
      if (!update)
        continue;
      auto& there = all.at[path];
      if (!there.empty())
        expect_same_place(path, there.front(), *update);
      there.push_back(std::move(*update));
    }
  return all;
}

GRAFT_PLAIN adapter_data rest_of(const std::vector<weighted_adapter>& adapters,
                                 const std::set<std::string>& of_updates,
                                 const combine_options& options) {
  adapter_data rest;
  // Is this the first of it? Another must be the same.
  const auto first = [&](const std::string& what, const std::string& source, bool fresh,
                         bool same) {
    if (!fresh && !same && options.head == rest_of_adapters::must_agree)
      throw input_error("combine: " + what +
                        ": expected the same of all adapters that have it, found another in " + source +
                        " (combine_options.head = rest_of_adapters::first takes the first)");
    return fresh;
  };
  const auto same_task = [](const task& a, const task& b) {
    return a.name == b.name && a.labels == b.labels;
  };
  for (const weighted_adapter& adapter : adapters) {
    const adapter_data& x = *adapter.data;
    for (const auto& [path, values] : x.tensors)
      if (!of_updates.contains(path)) {
        const auto [at, fresh] = rest.tensors.try_emplace(path, values);
        first(path, x.source, fresh, fresh || same_values(at->second, values));
      }
    for (const auto& [path, rows] : x.rows) {
      const auto [at, fresh] = rest.rows.try_emplace(path, rows);
      first(path, x.source, fresh,
            at->second.entries == rows.entries && same_values(at->second.rows, rows.rows));
    }
    if (x.task && first("task", x.source, !rest.task, rest.task == x.task))
      rest.task = x.task;
    if (!x.labels.empty() &&
        first("labels", x.source, rest.labels.empty(), rest.labels == x.labels))
      rest.labels = x.labels;
    if (!x.tasks.empty() && first("tasks", x.source, rest.tasks.empty(),
                                  std::equal(rest.tasks.begin(), rest.tasks.end(), x.tasks.begin(),
                                             x.tasks.end(), same_task)))
      rest.tasks = x.tasks;
    if (!x.base.fingerprint.empty() && !rest.base.fingerprint.empty() &&
        x.base.fingerprint != rest.base.fingerprint)
      throw input_error("combine: expected adapters of one base, found that of " + x.source + " (" +
                        x.base.name + ") to be another than " + rest.base.name);
    if (rest.base.fingerprint.empty() && (rest.base.name.empty() || !x.base.fingerprint.empty()))
      rest.base = x.base;
    rest.departed.insert(x.departed.begin(), x.departed.end());
    rest.partial = rest.partial || x.partial;
    rest.notes.insert(rest.notes.end(), x.notes.begin(), x.notes.end());
    rest.source += (rest.source.empty() ? " of " : ", ") + x.source;
  }
  rest.seed = adapters.front().data->seed;
  rest.source.insert(0, name_of(options.how));
  rest.values = rest.source;
  return rest;
}

GRAFT_PLAIN bool stays(const std::vector<weighted_adapter>& adapters, const updates_by_place& updates,
                       const combine_options& options) {
  if (adapters.size() != 1 || adapters.front().weight != 1)
    return false;
  if (!options.svd_rank || !steps_of(options.how).decomposes)
    return true;
  return std::all_of(updates.at.begin(), updates.at.end(), [&](const auto& place) {
    return place.second.front().rank == *options.svd_rank;
  });
}

}  // namespace detail

}  // namespace graft

#endif
