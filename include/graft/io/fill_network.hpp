// SPDX-License-Identifier: MIT
// The pretrained parameters of a network, from the tensors of a checkpoint.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/layer/initial.hpp>
#include <graft/model/task_kind.hpp>
#include <graft/tuning/occupant.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// | option       | meaning                                                          | default   |
// | task         | what the model is asked                                 | as config.json says |
// | labels       | number of classes; 0: as the checkpoint's config.json says       | 0         |
// | label_names  | their names; they decide the number where given                  |           |
// | replace_head | start a fresh head even where the checkpoint has one             | false     |
// | seed         | of everything that is freshly initialised                        | 0         |
// | numbers      | ranks, widths, dropout in place of the recipe's                  |           |
// | ignore       | beginnings of tensor names that may stay unused, beside the model's own |    |
// | start_from_base | let DoRA, PiSSA and the like take initial values from the base's weights | true |
// | dropout      | rate of the base's dropouts in place of config.json's, the adapters' aside | |
struct load_options {
  std::optional<task_kind> task{};
  int labels = 0;
  std::vector<std::string> label_names{};
  bool replace_head = false;
  std::uint64_t seed = 0;
  decoration_numbers numbers{};
  std::vector<std::string> ignore{};
  bool start_from_base = true;
  std::optional<double> dropout{};
};

// What loading found. `fresh`: parameters of the head and pooler that the checkpoint lacks, freshly
// initialised. `unused`: tensors of the checkpoint that the model has no place for and may ignore.
struct load_report {
  std::vector<std::string> fresh, unused;
};

namespace detail {

GRAFT_PLAIN std::string listed_names(const std::vector<std::string>& names);
GRAFT_PLAIN std::string shape_text(const std::vector<index_t>& shape);

// Is `shape` that of a [rows, cols] matrix, a [cols] vector standing for one row?
GRAFT_PLAIN bool same_shape(const std::vector<index_t>& shape, index_t rows, index_t cols);

inline bool is_number(dtype type) {
  return type == dtype::f32 || type == dtype::f16 || type == dtype::bf16 || type == dtype::f64;
}

// A new matrix of T with a tensor's values.
template <class T>
std::shared_ptr<void> converted(const tensor_entry& entry) {
  const std::size_t count = element_count(entry);
  std::shared_ptr<void> memory(std::malloc(std::max<std::size_t>(count, 1) * sizeof(T)), std::free);
  if (!memory)
    throw std::bad_alloc();
  convert_to(entry.type, entry.data, count, static_cast<T*>(memory.get()));
  return memory;
}

// Writes a tensor's values into a parameter of that many.
template <class B>
void write_values(typename B::parameter& to, const tensor_entry& entry) {
  using T = typename B::scalar;
  if constexpr (std::is_same_v<typename B::parameter::value_type, T>) {
    convert_to(entry.type, entry.data, element_count(entry), to.data);
  } else {  // beyond the host's reach
    std::vector<T> values(element_count(entry));
    convert_to(entry.type, entry.data, values.size(), values.data());
    B::from_host(to, values);
  }
}

// Gives a parameter the values of a tensor: a trained one is written, a frozen one points into the
// file where it can.
template <class B>
void fill_from(const listed_parameter<B>& p, const tensor_entry& entry,
               const std::shared_ptr<const void>& owner) {
  using T = typename B::scalar;
  if (p.parameter) {
    write_values<B>(*p.parameter, entry);
    return;
  }
  const auto address = reinterpret_cast<std::uintptr_t>(entry.data);
  if (entry.type == dtype::f32 && std::is_same_v<T, float> && address % alignof(T) == 0) {
    *p.weight = {reinterpret_cast<const T*>(entry.data), p.rows(), p.cols(), owner};
  } else {
    std::shared_ptr<const void> values = converted<T>(entry);
    *p.weight = {static_cast<const T*>(values.get()), p.rows(), p.cols(), values};
  }
}

// Fresh values for a parameter that the checkpoint lacks: BERT's (normal with deviation 0.02, a
// bias 0, a norm 1). An adapter does not hold the frozen ones, so those must be the same whenever
// the base is loaded: no seed decides them.
template <class B>
void fill_fresh(const listed_parameter<B>& p, std::uint64_t seed) {
  random_stream random(p.parameter ? seed : 0, hash_of(p.path));
  const auto value = [&] {
    return p.kind == parameter_kind::norm_weight ? 1 : p.decays ? 0.02 * random.normal() : 0;
  };
  if (p.parameter)
    set_values<B>(*p.parameter, value);
  else
    set_values<B>(*p.weight, value);
}

// The beginnings of names that any of our models may leave unused: buffers, and heads it does not
// have.
GRAFT_PLAIN bool may_stay_unused(std::string_view name, const std::vector<std::string>& more);

// Fills what the listing has and the checkpoint may hold.
template <class B>
load_report fill_parameters(const part_list<B>& parts, const bert_config& config,
                            const checkpoint& from, const std::string& folder,
                            const load_options& options) {
  const bert_family family = config.family;
  load_report report;
  std::vector<std::string> missing, wrong;
  std::set<std::string, std::less<>> taken;
  for (const listed_parameter<B>& p : parts.parameters) {
    const std::string& path = p.path;
    const auto name = checkpoint_name(family, path, config.task);
    if (!name)
      continue;
    const bool head = path.starts_with("head.") || path.starts_with("mlm.");
    const tensor_entry* entry = nullptr;
    if (!(head && options.replace_head))
      for (const std::string& spelling : checkpoint_spellings(family, *name))
        if ((entry = from.find(spelling)))
          break;
    if (!entry) {
      if (head || path.starts_with("pooler.")) {
        report.fresh.push_back(path);
        fill_fresh(p, options.seed);
      } else {
        missing.push_back(*name + " (" + path + ")");
      }
      continue;
    }
    taken.insert(entry->name);
    if (!same_shape(entry->shape, p.rows(), p.cols()))
      wrong.push_back(entry->name + ": expected [" + std::to_string(p.rows()) + ", " +
                      std::to_string(p.cols()) + "], found " + shape_text(entry->shape));
    else if (!is_number(entry->type))
      wrong.push_back(entry->name + ": expected F32, F16, BF16 or F64, found " +
                      std::string(name_of(entry->type)));
    else
      fill_from(p, *entry, from.owner_of(*entry));
  }
  if (!missing.empty())
    throw checkpoint_error(folder +
                           ": expected tensors that are not there: " + listed_names(missing));
  if (!wrong.empty())
    throw checkpoint_error(
        folder + ": " + listed_names(wrong) +
        (wrong.front().starts_with("classifier") || wrong.front().starts_with("pre_classifier") ||
                 wrong.front().starts_with("qa_outputs")
             ? " (load_options.replace_head starts a fresh head)"
             : ""));
  std::vector<std::string> strangers;
  for (const std::string& name : from.names()) {
    if (taken.contains(name))
      continue;
    (may_stay_unused(name, options.ignore) ? report.unused : strangers).push_back(name);
  }
  if (!strangers.empty())
    throw checkpoint_error(
        folder + ": found tensors that the model has no place for: " + listed_names(strangers) +
        " (load_options.ignore names what may stay unused)");
  return report;
}

}  // namespace detail

// Fills the pretrained parameters of a network from a checkpoint. Adapters keep their initial
// values, or take those that follow from the base's; parameters of a head ("head.", "pooler.",
// "mlm.") start afresh where the checkpoint lacks them. Throws checkpoint_error, listing the names,
// for parameters that nothing fills, tensors that nobody takes, shapes that differ, and types that
// are no floating-point numbers.
template <lists_parts Network>
load_report fill_network(Network& network, const bert_config& config, const checkpoint& from,
                         const std::string& folder, const load_options& options) {
  const auto parts = list_parts(network);
  load_report report = detail::fill_parameters(parts, config, from, folder, options);
  detail::base_filled(parts);
  // What was put into another form is not wanted in the file's any more.
  if (std::any_of(parts.parameters.begin(), parts.parameters.end(),
                  [](const auto& p) { return p.size() > 0 && !p.data(); }))
    for (const safetensors_file& file : from.files())
      file.let_go();
  if (options.start_from_base)
    detail::start_from_base(parts);
  return report;
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::string listed_names(const std::vector<std::string>& names) {
  std::string s;
  for (std::size_t i = 0; i < names.size() && i < 20; ++i)
    s += (i ? ", " : "") + names[i];
  if (names.size() > 20)
    s += " and " + std::to_string(names.size() - 20) + " more";
  return s;
}

GRAFT_PLAIN std::string shape_text(const std::vector<index_t>& shape) {
  std::string s = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

GRAFT_PLAIN bool same_shape(const std::vector<index_t>& shape, index_t rows, index_t cols) {
  if (shape.size() == 1)
    return rows == 1 && shape[0] == cols;
  return shape.size() == 2 && shape[0] == rows && shape[1] == cols;
}

GRAFT_PLAIN bool may_stay_unused(std::string_view name, const std::vector<std::string>& more) {
  if (name.ends_with("position_ids"))
    return true;
  for (std::string_view beginning :
       {"cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.",
        "qa_outputs.", "classifier.", "pre_classifier.", "pooler.", "bert.pooler.",
        "roberta.pooler.", "roberta_prelayernorm.pooler.", "task_heads."})
    if (name.starts_with(beginning))
      return true;
  return std::any_of(more.begin(), more.end(),
                     [&](const std::string& m) { return name.starts_with(m); });
}

}  // namespace detail

}  // namespace graft

#endif
