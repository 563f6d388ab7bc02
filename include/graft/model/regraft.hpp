// SPDX-License-Identifier: MIT
// A model under another tuning: full fine-tuning first and LoRA after it, the head first and then
// more of the layers, LoRA that is merged and begun anew.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/store.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/recipe.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// | option  | meaning                                                                   | default |
// | merge   | decorations that are one matrix with what they decorate become that       | false   |
// |         | matrix first: LoRA, DoRA, VeRA, AdaLoRA, IA³ on a linear layer, quantize; |         |
// |         | the new tuning's begin anew there, with the recipe's numbers              |         |
// | drop    | values that have no place under the new tuning may go                     | false   |
// | numbers | ranks, widths, dropout of the new tuning, in place of the recipe's        |         |
// | seed    | of what is fresh                                                          | the model's |
struct regraft_options {
  bool merge = false;
  bool drop = false;
  decoration_numbers numbers{};
  std::optional<std::uint64_t> seed{};
};

// Paths: of the layers that were merged, of what is fresh under the new tuning, of what had no place
// under it. All the rest was kept.
struct regraft_report {
  std::vector<std::string> merged, fresh, dropped;
};

// What a model holds, whatever its type. Values are shared with it until they are written.
template <class B>
struct model_values {
  struct tensor {
    typename B::frozen_weight values;
    bool departed = false;  // no longer those of the checkpoint
  };
  std::map<std::string, tensor> tensors;  // by path
  // By path and method: a decoration, and was there a part of the base in it.
  struct decoration {
    decoration_numbers numbers;
    bool took_from_base = false;
  };
  std::map<std::pair<std::string, std::string>, decoration> decorations;
  std::set<std::string> dropped;  // paths of adapters that are left out (drop_adapters)
};

namespace detail {

// The decorations that are one matrix with what they decorate, and are not empty: the outermost at
// every path.
template <class B>
std::map<std::string, const listed_layer<B>*> mergeable(const part_list<B>& parts) {
  std::map<std::string, const listed_layer<B>*> outermost;
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->as_dense && !stands_empty(l))
      outermost[l.path] = &l;  // innermost come first
  return outermost;
}

template <class B>
model_values<B> values_of(const part_list<B>& parts, const std::set<std::string>& departed,
                          bool merge, std::vector<std::string>& merged) {
  model_values<B> values;
  std::set<std::size_t> replaced;
  const bool reads_table = std::any_of(parts.parameters.begin(), parts.parameters.end(),
                                       [](const auto& p) { return p.path.starts_with("mlm."); });
  if (merge)
    for (const auto& [path, layer] : mergeable(parts)) {
      if (reads_table && path == "embeddings.word")
        throw error("regraft: embeddings.word: expected no decoration to merge, since a masked language "
                    "model's output reads the table below it");
      dense_form<B> dense = layer->may->as_dense(layer->layer);
      values.tensors[joined(path, at::weight.name)] = {std::move(dense.weight), true};
      if (dense.bias.rows > 0)
        values.tensors[joined(path, at::bias.name)] = {std::move(dense.bias), true};
      for (std::size_t i = layer->first_parameter; i < layer->next_parameter; ++i)
        replaced.insert(i);
      merged.push_back(path);
    }
  for (std::size_t i = 0; i < parts.parameters.size(); ++i) {
    const listed_parameter<B>& p = parts.parameters[i];
    if (replaced.contains(i))
      continue;
    auto& t = values.tensors[p.path];
    t.departed = p.trained || departed.contains(p.path);
    if (p.parameter)
      t.values = *p.parameter;
    else
      t.values = *p.weight;
  }
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->numbers && !(merge && l.may->as_dense) && !stands_empty(l)) {
      auto& d = values.decorations[{l.path, std::string(l.may->method)}];
      d.numbers = l.may->numbers(l.layer);
      d.took_from_base = l.may->saved_numbers && l.may->saved_numbers(l.layer) != d.numbers;
    }
  for (const listed_layer<B>& l : parts.layers)
    if (l.may->dropped && l.may->dropped(l.layer))
      values.dropped.insert(l.path);
  return values;
}

inline std::string first_names(const std::vector<std::string>& names) {
  std::string s;
  for (std::size_t i = 0; i < names.size() && i < 5; ++i)
    s += (i ? ", " : "") + names[i];
  return names.size() > 5 ? s + " and " + std::to_string(names.size() - 5) + " more" : s;
}

// Gives the decorations that both have the numbers they had; returns which those are.
template <class B>
std::set<const void*> take_numbers_of(const part_list<B>& to, const model_values<B>& from,
                                      const decoration_numbers& chosen) {
  std::set<const void*> known;
  for (const listed_layer<B>& l : to.layers) {
    if (!l.may->renumber)
      continue;
    const auto found = from.decorations.find({l.path, std::string(l.may->method)});
    if (found == from.decorations.end())
      continue;
    decoration_numbers numbers = found->second.numbers;
    for (const auto& [name, value] : chosen)
      numbers.set(name, value);
    try {
      l.may->renumber(l.layer, numbers);
      known.insert(l.layer);
    } catch (const shape_error&) {
      // of another size that is part of its type: a decoration of its own
    }
  }
  return known;
}

// Has a fresh model values at a place, other than these? (A base that is not filled has none, or zeros.)
template <class B>
bool drawn_differently(const listed_parameter<B>& fresh, const typename B::frozen_weight& values) {
  if (!fresh.has_values() || !typename B::const_view(values).data)
    return false;
  const listed_values<B> there(fresh);
  const auto now = there.values();
  const auto differs = [&](const auto* other) { return !std::equal(now.begin(), now.end(), other); };
  return (values.data ? differs(values.data) : differs(B::on_host(values).data())) &&
         std::any_of(now.begin(), now.end(), [](auto v) { return v != 0; });
}

// Gives everything that both have its values.
template <class B>
void take_values_of(const part_list<B>& to, const model_values<B>& from, regraft_report& report,
                    std::set<std::string>& departed) {
  std::set<std::string> taken;
  for (const listed_parameter<B>& p : to.parameters) {
    const auto found = from.tensors.find(p.path);
    const bool same_size = found != from.tensors.end() && found->second.values.rows == p.rows() &&
                           found->second.values.cols == p.cols();
    // What is frozen and drawn from a seed is in no file, unless another seed is to be told.
    const bool drawn_otherwise = same_size && !p.trained && drawn_differently<B>(p, found->second.values);
    if (p.shared && !p.trained && found != from.tensors.end() && (!same_size || drawn_otherwise))
      throw error("regraft: " + p.path +
                  ": expected the matrix that its layers learned with, found another (of another size "
                  "or seed); merge them first");
    if (!same_size) {
      report.fresh.push_back(p.path);
      continue;
    }
    const auto& [values, has_departed] = found->second;
    if (!typename B::const_view(values).data)
      throw error("regraft: " + p.path +
                  ": expected values, found them quantised (regraft_options.merge reads them)");
    taken.insert(p.path);
    if (p.parameter)
      B::copy(*p.parameter, values);
    else
      *p.weight = values;
    if ((has_departed && !p.trained) || drawn_otherwise)
      departed.insert(p.path);
  }
  for (const auto& [path, tensor] : from.tensors)
    if (!taken.contains(path))
      report.dropped.push_back(path);
}

}  // namespace detail

// The values of a model, to be taken over by one under another tuning.
template <class Model>
model_values<typename Model::backend_type> values_of(Model& model, bool merge,
                                                     std::vector<std::string>& merged) {
  return detail::values_of(list_parts(model.network), model.departed, merge, merged);
}

// Fills a model that was made without values (Model::under) with those of another. What it has and
// the other lacks begins as the tuning says. Throws graft::error for values that would be lost
// (regraft_options.drop), and for a decoration with a part of the base in it (PiSSA, OLoRA) that is
// not merged.
template <class Model>
void take_values(Model& model, const model_values<typename Model::backend_type>& from,
                 const regraft_options& options, regraft_report& report) {
  std::vector<std::string> bound;
  for (const auto& [where, decoration] : from.decorations)
    if (decoration.took_from_base)
      bound.push_back(where.first + " (" + where.second + ")");
  if (!bound.empty())
    throw error("regraft: expected decorations that leave the base alone, found such that took a part "
                "of it: " +
                detail::first_names(bound) + " (regraft_options.merge puts it back)");
  const auto known =
      detail::take_numbers_of(list_parts(model.network), from, options.numbers);
  initialize_decorations(model.network, model.initial_seed);  // sizes may be others now
  model.parameters = gather(model.network);
  const auto parts = list_parts(model.network);
  detail::take_values_of(parts, from, report, model.departed);
  if (!report.dropped.empty() && !options.drop)
    throw error("regraft: expected a place for every value, found none under the new tuning for " +
                detail::first_names(report.dropped) +
                " (regraft_options.merge puts updates into the weights, .drop lets go)");
  detail::base_filled(parts);
  for (const auto& l : parts.layers)
    if (l.may->dropped && from.dropped.contains(l.path))
      l.may->dropped(l.layer) = true;
  for (const auto& l : parts.layers)
    if (l.may->start_from_base && !known.contains(l.layer))
      l.may->start_from_base(l.layer);
}

// The same model under tuning To: base weights and what both tunings have, by path, keep their
// values; the rest begins as To says. Frozen weights are shared, not copied. Throws as take_values; the
// model is lost then, a clone() of it is not. Weights that are quantised can be merged only.
template <tuning To, class Model>
auto regraft(Model model, const regraft_options& options = {}, regraft_report* report = nullptr) {
  regraft_report found;
  const auto values = values_of(model, options.merge, found.merged);
  auto next = model.template under<To>(options.seed.value_or(model.initial_seed), options.numbers);
  take_values(next, values, options, found);
  if (report)
    *report = std::move(found);
  return next;
}

}  // namespace graft
