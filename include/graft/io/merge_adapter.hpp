// SPDX-License-Identifier: MIT
// An adapter folded into the weights of a model without decorations, whatever its method and places: for
// programs that do not know the adapter when they are compiled. (With its type known: model/merge.hpp.)
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/drawn_values.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/vera.hpp>

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// Gives a decorated layer that stands at `path` what an adapter has for it, and makes one matrix of it.
template <class Layer>
dense_form<typename Layer::backend_type> merged_layer(Layer layer, const std::string& path,
                                                      const adapter_data& a,
                                                      std::set<std::string>& taken) {
  using B = typename Layer::backend_type;
  try {
    layer.renumber(a.decorations.at(path).at(std::string(Layer::method)).numbers);
  } catch (const error& e) {
    throw checkpoint_error(a.source + ": " + path + ": " + text_of(e));
  }
  share_weights(layer);  // VeRA's need their sizes
  value_writer<B> writer;
  for (listed_parameter<B> p : list_parts(layer).parameters) {
    const std::string name = p.shared ? p.path : joined(path, p.path);
    if (p.path == at::weight.name || p.path == at::bias.name)
      continue;  // the base's
    const auto found = a.tensors.find(name);
    if (found == a.tensors.end())
      throw checkpoint_error(a.values + ": " + name + ": missing");
    stored_matrix part = found->second;
    if (p.shared && part.rows > p.rows())
      part.rows = p.rows();  // a matrix that layers share may have more rows than this one needs
    if (const auto misfit = misfit_of(part, name, p.rows(), p.cols()))
      throw checkpoint_error(a.values + ": " + *misfit);
    writer.write(p, part);
    taken.insert(name);
  }
  return layer.as_dense();
}

template <class B>
using frozen_linear = frozen<linear<B>>;

template <class B>
dense_form<B> merged_map(frozen_linear<B> base, const std::string& path, const std::string& method,
                         const adapter_data& a, std::set<std::string>& taken) {
  if (method == lora::name) {
    constexpr lora with_bias{.rank = dynamic, .bias = true};
    if (a.tensors.contains(path + ".lora.bias"))
      return merged_layer(lora_layer<frozen_linear<B>, dynamic, with_bias.form()>(std::move(base), with_bias),
                          path, a, taken);
    return merged_layer(lora_layer<frozen_linear<B>>(std::move(base), lora{.rank = dynamic}), path, a,
                        taken);
  }
  if (method == dora::name)
    return merged_layer(dora_layer<frozen_linear<B>, dynamic>(std::move(base), dora{.rank = dynamic}),
                        path, a, taken);
  if (method == adalora::name)
    return merged_layer(adalora_layer<frozen_linear<B>>(std::move(base), adalora{}), path, a, taken);
  if (method == vera::name)
    return merged_layer(vera_layer<frozen_linear<B>>(std::move(base), vera{}), path, a, taken);
  if (method == ia3::name) {
    const auto& form = a.decorations.at(path).at(method).form;
    const auto place = form.find("place");
    if (place == form.end())
      throw checkpoint_error(a.source + ": " + path +
                             ": ia3: expected to be told whether it scales inputs or outputs");
    if (place->second == "input")
      return merged_layer(
          ia3_layer<frozen_linear<B>, ia3_place::input>(std::move(base), ia3{.place = ia3_place::input}),
          path, a, taken);
    return merged_layer(ia3_layer<frozen_linear<B>, ia3_place::output>(std::move(base), ia3{}), path, a,
                        taken);
  }
  throw error(a.source + ": " + path + ": no map is decorated by " + method);
}

template <class B>
dense_form<B> merged_table(frozen<embedding<B>> base, const std::string& path,
                           const std::string& method, const adapter_data& a,
                           std::set<std::string>& taken) {
  if (method != lora::name)
    throw error(a.source + ": " + path + ": expected lora at a table, found " + method);
  return merged_layer(lora_table<frozen<embedding<B>>>(std::move(base), lora{.rank = dynamic}), path, a,
                      taken);
}

// The first decoration that is no matrix: where it is, and its method. Nothing where all are.
GRAFT_PLAIN std::optional<std::pair<std::string, std::string>> first_unmergeable(const adapter_data& a);

}  // namespace detail

// Is every decoration of an adapter one that merge_adapter folds in?
inline bool can_merge(const adapter_data& a) {
  return !detail::first_unmergeable(a);
}

// Folds an adapter into an untuned model of the same base, in the backend's numbers; what it has of the
// base's own parameters takes their place, what its seed makes is drawn. Throws checkpoint_error, naming
// places, for what has no place in the model or another shape, and graft::error for a method that is no
// matrix; the model is then as it was.
template <class Model>
void merge_adapter(Model& model, const adapter_data& adapter) {
  using B = typename Model::backend_type;
  if (const auto other = detail::first_unmergeable(adapter))
    throw error(adapter.source + ": " + other->first +
                ": expected a method that is one matrix with what it decorates (lora, dora, adalora, "
                "vera, ia3), found " + other->second);
  Model next = model.clone();
  const auto parts = list_parts(next.network);
  const adapter_data a = with_drawn<B>(adapter, map_sizes(parts));
  const auto parameter_at = [&](const std::string& path) -> const listed_parameter<B>* {
    for (const auto& p : parts.parameters)
      if (p.path == path)
        return &p;
    return nullptr;
  };
  // The base with what the adapter has for it, then the decorations over that.
  std::set<std::string> taken;
  detail::value_writer<B> writer;
  for (const listed_parameter<B>& p : parts.parameters) {
    const auto matrix = a.tensors.find(p.path);
    const auto rows = a.rows.find(p.path);
    std::optional<std::string> misfit;
    if (matrix != a.tensors.end()) {
      misfit = detail::misfit_of(matrix->second, p.path, p.rows(), p.cols());
      if (!misfit)
        writer.write(p, matrix->second);
    } else if (rows != a.rows.end()) {
      misfit = detail::misfit_of(rows->second, p);
      if (!misfit)
        writer.write(p, rows->second);
    } else
      continue;
    if (misfit)
      throw checkpoint_error(a.values + ": " + *misfit);
    taken.insert(p.path);
    next.departed.insert(p.path);
  }
  for (const auto& [path, methods] : a.decorations) {
    const auto* weight = parameter_at(path + ".weight");
    const auto* bias = parameter_at(path + ".bias");
    if (!weight || methods.size() != 1)
      throw checkpoint_error(a.source + ": expected one decoration of a layer with a weight, found " +
                             std::to_string(methods.size()) + " (" + methods.begin()->first + ") at " +
                             path);
    const std::string& method = methods.begin()->first;
    const auto frozen_of = [](const listed_parameter<B>* p) {
      typename B::frozen_weight w;
      if (p)
        w = p->weight ? *p->weight : typename B::frozen_weight(*p->parameter);
      return w;
    };
    dense_form<B> form;
    if (path.starts_with("embeddings.")) {
      frozen<embedding<B>> table;
      table.weight = frozen_of(weight);
      form = detail::merged_table<B>(std::move(table), path, method, a, taken);
    } else {
      detail::frozen_linear<B> map;
      map.weight = frozen_of(weight);
      map.bias = frozen_of(bias);
      form = detail::merged_map<B>(std::move(map), path, method, a, taken);
    }
    const auto replace = [&](const listed_parameter<B>* p, typename B::parameter values) {
      if (p->weight)
        *p->weight = std::move(values);
      else
        B::copy(*p->parameter, values);
      next.departed.insert(p->path);
    };
    replace(weight, std::move(form.weight));
    if (bias && form.bias.rows > 0)
      replace(bias, std::move(form.bias));
    else if (form.bias.rows > 0)
      throw checkpoint_error(a.source + ": " + path + ": expected a bias to merge with, found none");
  }
  std::vector<std::string> wrong;
  for (const auto& [path, matrix] : a.tensors)
    if (!taken.contains(path) && !path.ends_with("lora.bias"))
      wrong.push_back(path);
  for (const auto& [path, rows] : a.rows)
    if (!taken.contains(path))
      wrong.push_back(path);
  if (!wrong.empty())
    throw checkpoint_error(a.values + ": no place in this model for " + detail::listed_names(wrong));
  model = std::move(next);
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::optional<std::pair<std::string, std::string>> first_unmergeable(const adapter_data& a) {
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods)
      if (method != lora::name && method != dora::name && method != adalora::name &&
          method != vera::name && method != ia3::name)
        return std::pair(path, method);
  return std::nullopt;
}

}  // namespace detail

}  // namespace graft

#endif
