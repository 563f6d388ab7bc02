// SPDX-License-Identifier: MIT
// The low-rank updates that adapters have at one place, to be combined: read, changed and written.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/parts.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/combination.hpp>
#include <graft/tuning/lora_embedding.hpp>
#include <graft/tuning/lora_spec.hpp>

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

namespace graft::detail {

struct weighted_adapter {
  const adapter_data* data = nullptr;
  double weight = 0;
};

// weight · scale · B A of one adapter at one place; A [rank, in], B [out, rank / groups]. Of a
// table, A is the transpose of what files hold.
struct low_rank_update {
  std::string source;
  adapter_decoration decoration;
  double weight = 1, scale = 1;
  index_t rank = 0, out = 0, in = 0, groups = 1;
  bool of_table = false, in_doubles = false;
  std::vector<double> a, b;
};

// B A of several adapters, or of what is nearest to it.
struct low_rank_sum {
  index_t rank = 0;
  std::vector<double> a, b;
};

GRAFT_PLAIN void expect_options(const combine_options& options);

// Those whose weight is not 0.
GRAFT_PLAIN std::vector<weighted_adapter> weighted(std::span<const adapter_data* const> adapters,
                                                   std::span<const double> weights);

inline bool same_values(const stored_matrix& a, const stored_matrix& b) {
  return a.rows == b.rows && a.cols == b.cols && values_of<double>(a) == values_of<double>(b);
}

// The update of an adapter at a place, none where its rank is 0; adds the names of its tensors.
GRAFT_PLAIN std::optional<low_rank_update> read_update(
    const weighted_adapter& adapter, const std::string& path,
    const std::map<std::string, adapter_decoration>& methods, std::set<std::string>& names);

// Throws shape_error unless two adapters decorate the same kind of layer.
GRAFT_PLAIN void expect_same_place(const std::string& path, const low_rank_update& first,
                                   const low_rank_update& other);

GRAFT_PLAIN void expect_one_group(const std::string& path, const low_rank_update& u, combination how);

// scale · B A, [out, in].
GRAFT_PLAIN std::vector<double> product(const low_rank_update& u);

// [w_i s_i A_i] below each other, [B_i] beside each other.
GRAFT_PLAIN low_rank_sum stacked(const std::vector<low_rank_update>& of);

// What a method leaves of values that are called so.
GRAFT_PLAIN std::vector<double> pruned(std::vector<double> values, combination_steps::pruning how,
                                       const combine_options& options, std::string_view name);

GRAFT_PLAIN std::optional<majority_sign> elected(const combination_steps& steps,
                                                 const combine_options& options);

// Puts what was made of the updates at a place into an adapter.
GRAFT_PLAIN void write_update(adapter_data& to, const std::string& path,
                              const std::vector<low_rank_update>& of, const low_rank_sum& sum);

}  // namespace graft::detail

#if GRAFT_BODIES

namespace graft::detail {

GRAFT_PLAIN void expect_options(const combine_options& options) {
  const std::string name(name_of(options.how));
  if (name.empty())
    throw input_error("combine: how: expected one of the combinations, found another number");
  if (steps_of(options.how).prune != combination_steps::pruning::none &&
      !(options.density > 0 && options.density <= 1))
    throw input_error("combine: density: expected above 0 and at most 1 for " + name + ", found " +
                      std::to_string(options.density));
  if (options.svd_rank && *options.svd_rank < 1)
    throw input_error("combine: svd_rank: expected at least 1, found " +
                      std::to_string(*options.svd_rank));
}

GRAFT_PLAIN std::vector<weighted_adapter> weighted(std::span<const adapter_data* const> adapters,
                                                   std::span<const double> weights) {
  if (adapters.empty())
    throw input_error("combine: expected at least one adapter, found none");
  if (weights.size() != adapters.size())
    throw input_error("combine: weights: expected one for each of " +
                      std::to_string(adapters.size()) + " adapters, found " +
                      std::to_string(weights.size()));
  std::vector<weighted_adapter> taken;
  for (std::size_t i = 0; i < adapters.size(); ++i) {
    if (!std::isfinite(weights[i]))
      throw input_error("combine: weights: expected finite numbers, found " +
                        std::to_string(weights[i]) + " for " + adapters[i]->source);
    if (weights[i] != 0)
      taken.push_back({adapters[i], weights[i]});
  }
  if (taken.empty())
    throw input_error("combine: weights: expected one that is not 0, found none");
  return taken;
}

inline std::vector<double> columns_as_rows(const std::vector<double>& from, index_t rows,
                                           index_t cols) {
  std::vector<double> to(from.size());
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j)
      to[static_cast<std::size_t>(j * rows + i)] = from[static_cast<std::size_t>(i * cols + j)];
  return to;
}

GRAFT_PLAIN std::optional<low_rank_update> read_update(
    const weighted_adapter& adapter, const std::string& path,
    const std::map<std::string, adapter_decoration>& methods, std::set<std::string>& names) {
  const adapter_data& from = *adapter.data;
  const std::string place = "combine: " + from.source + ": " + path;
  for (const auto& [method, _] : methods)
    if (method != lora::name)
      throw input_error(place + ": expected lora and nothing else, found " + method);
  if (methods.empty())
    return std::nullopt;
  low_rank_update u;
  u.source = from.source;
  u.decoration = methods.begin()->second;
  u.weight = adapter.weight;
  const auto rank = u.decoration.numbers.count("rank", 0);
  const auto alpha = u.decoration.numbers.find("alpha");
  if (!rank || !alpha)
    throw input_error(place + ": expected the numbers rank and alpha of lora, found " +
                      (rank ? "no alpha" : "no rank"));
  if (*rank == 0)
    return std::nullopt;
  u.rank = *rank;
  u.scale = factor_of(scaling_from(u.decoration.numbers, lora_scaling::over_rank), *alpha, u.rank);

  u.of_table = from.tensors.contains(joined(path, at::lora_table_a.name));
  const std::string name_of_a =
      joined(path, u.of_table ? at::lora_table_a.name : at::lora_a.name);
  const std::string name_of_b =
      joined(path, u.of_table ? at::lora_table_b.name : at::lora_b.name);
  for (auto t = from.tensors.lower_bound(path + ".lora.");
       t != from.tensors.end() && t->first.starts_with(path + ".lora."); ++t)
    if (t->first != name_of_a && t->first != name_of_b)
      throw input_error(place + ": expected a plain lora of A and B, found " + t->first + " too");
  for (const std::string& name : {name_of_a, name_of_b})
    if (!from.tensors.contains(name))
      throw input_error(place + ": expected " + name + ", found no such tensor");
  const stored_matrix &a = from.tensors.at(name_of_a), &b = from.tensors.at(name_of_b);
  names.insert({name_of_a, name_of_b});
  u.out = b.rows;
  u.in = u.of_table ? a.rows : a.cols;
  u.groups = b.cols > 0 && !u.of_table && u.rank % b.cols == 0 ? u.rank / b.cols : 1;
  if ((u.of_table ? a.cols : a.rows) != u.rank || b.cols * u.groups != u.rank)
    throw shape_error(place + ": expected A and B of rank " + std::to_string(u.rank) + ", found [" +
                      std::to_string(a.rows) + ", " + std::to_string(a.cols) + "] and [" +
                      std::to_string(b.rows) + ", " + std::to_string(b.cols) + "]");
  u.in_doubles = a.type == dtype::f64 || b.type == dtype::f64;
  u.a = values_of<double>(a);
  if (u.of_table)
    u.a = columns_as_rows(u.a, u.in, u.rank);
  u.b = values_of<double>(b);
  return u;
}

GRAFT_PLAIN void expect_same_place(const std::string& path, const low_rank_update& first,
                                   const low_rank_update& other) {
  const auto text = [](const low_rank_update& u) {
    std::string s = "[" + std::to_string(u.out) + ", " + std::to_string(u.in) + "]";
    if (u.of_table)
      s += " of a table";
    if (u.groups > 1)
      s += " in " + std::to_string(u.groups) + " groups";
    return s + " in " + u.source;
  };
  if (first.out != other.out || first.in != other.in || first.groups != other.groups ||
      first.of_table != other.of_table)
    throw shape_error("combine: " + path + ": expected updates of one shape, found " + text(first) +
                      " and " + text(other));
}

GRAFT_PLAIN void expect_one_group(const std::string& path, const low_rank_update& u, combination how) {
  if (u.groups > 1)
    throw input_error("combine: " + path + ": " + std::string(name_of(how)) +
                      " expects an update that is one matrix, found a convolution of " +
                      std::to_string(u.groups) + " groups");
}

GRAFT_PLAIN std::vector<double> product(const low_rank_update& u) {
  std::vector<double> w(static_cast<std::size_t>(u.out * u.in));
  for (index_t i = 0; i < u.out; ++i)
    for (index_t k = 0; k < u.rank; ++k) {
      const double b = u.scale * u.b[static_cast<std::size_t>(i * u.rank + k)];
      const double* a = u.a.data() + k * u.in;
      double* row = w.data() + i * u.in;
      for (index_t j = 0; j < u.in; ++j)
        row[j] += b * a[j];
    }
  return w;
}

GRAFT_PLAIN low_rank_sum stacked(const std::vector<low_rank_update>& of) {
  low_rank_sum all;
  for (const low_rank_update& u : of) {
    all.rank += u.rank;
    for (const double a : u.a)
      all.a.push_back(u.weight * u.scale * a);
  }
  for (index_t i = 0; i < of.front().out; ++i)
    for (const low_rank_update& u : of)
      all.b.insert(all.b.end(), u.b.begin() + i * u.rank, u.b.begin() + (i + 1) * u.rank);
  return all;
}

GRAFT_PLAIN std::vector<double> pruned(std::vector<double> values, combination_steps::pruning how,
                                       const combine_options& options, std::string_view name) {
  if (how == combination_steps::pruning::magnitude) {
    keep_greatest(values, options.density);
  } else if (how == combination_steps::pruning::random) {
    const std::string_view bytes(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof(double));
    keep_some(values, options.density,
              random_stream(options.seed, hash_of(name) ^ mix(hash_of(bytes))));
  }
  return values;
}

GRAFT_PLAIN std::optional<majority_sign> elected(const combination_steps& steps,
                                                 const combine_options& options) {
  return steps.elects ? std::optional(options.elect) : std::nullopt;
}

GRAFT_PLAIN void write_update(adapter_data& to, const std::string& path,
                              const std::vector<low_rank_update>& of, const low_rank_sum& sum) {
  const low_rank_update& first = of.front();
  adapter_decoration& d = to.decorations[path][std::string(lora::name)];
  d = first.decoration;
  d.form.erase("scaling");  // the number says it, and a product of given factors has no start
  d.form.erase("init");
  d.numbers.set("rank", static_cast<double>(sum.rank));
  d.numbers.set("alpha", static_cast<double>(sum.rank));
  d.numbers.set("over_root", 0);
  const bool doubles =
      std::any_of(of.begin(), of.end(), [](const low_rank_update& u) { return u.in_doubles; });
  const auto put = [&](std::string_view name, index_t rows, index_t cols,
                       const std::vector<double>& values) {
    to.tensors[joined(path, name)] =
        doubles ? stored(rows, cols, values)
                : stored(rows, cols, std::vector<float>(values.begin(), values.end()));
  };
  if (first.of_table)
    put(at::lora_table_a.name, first.in, sum.rank, columns_as_rows(sum.a, sum.rank, first.in));
  else
    put(at::lora_a.name, sum.rank, first.in, sum.a);
  put(first.of_table ? at::lora_table_b.name : at::lora_b.name, first.out, sum.rank / first.groups,
      sum.b);
}

}  // namespace graft::detail

#endif
