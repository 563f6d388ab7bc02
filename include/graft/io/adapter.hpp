// SPDX-License-Identifier: MIT
// Models with adapters: saving the trained part in a folder of its own (io/adapter_file.hpp), and
// loading a base with an adapter of graft's or another library's.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/io/adapter_file.hpp>
#include <graft/io/adapterhub_read.hpp>
#include <graft/io/peft_read.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/io/recipe_json.hpp>
#include <graft/tuning/recipe.hpp>

#include <algorithm>
#include <string>

namespace graft {

// Writes the trained part of a model, and of its frozen values those that are not the checkpoint's
// (data_of). `strategy` is a word by which a program finds the tuning again. Both files appear whole or
// not at all. Throws as expect_savable does.
template <class Model>
void save_adapter(const Model& model, const std::string& folder, const base_identity& base,
                  const std::string& strategy = "") {
  saved_adapter a{data_of(model), strategy, recipe_json<typename Model::tuning_type>()};
  a.base = base;
  write_adapter(a, folder);
}

// An adapter in a folder of whichever library that graft reads: its own, PEFT's or AdapterHub's, for a
// base of that configuration. Throws checkpoint_error for a folder of none.
GRAFT_PLAIN adapter_data read_any_adapter(const std::string& folder, const bert_config& config);

namespace detail {

// Is the whole head in the trained part, so that it does not matter which one the base has?
template <tuning T>
inline constexpr bool trains_head = [] {
  using head = typename scope<T>::template enter<at::head_t>;
  return trained_at<head, at::head_dense_t>() == params::all &&
         trained_at<head, at::classifier_t>() == params::all;
}();

// Throws checkpoint_error when an adapter belongs to another tuning than T or another base.
template <tuning T>
void expect_match(const saved_adapter& a, const std::string& base_folder) {
  if (!same_places(a.recipe, recipe_json<T>()))
    throw checkpoint_error(a.source + ": expected the recipe " + recipe_json<T>() +
                           ", found " + a.recipe);
  const base_identity base = identify_base(base_folder);
  if (base.fingerprint != a.base.fingerprint)
    throw checkpoint_error(a.source + ": expected the base " + a.base.name + " with fingerprint " +
                           a.base.fingerprint + ", found " + base_folder + " with fingerprint " +
                           base.fingerprint);
}

GRAFT_PLAIN bool brings_head(const adapter_data& a);

// How the base of an adapter is loaded.
template <tuning T>
load_options base_options(const adapter_data& a) {
  load_options options;
  options.task = a.task;
  options.label_names = a.labels;
  if (const auto head = a.tensors.find("head.classifier.weight");
      a.labels.empty() && head != a.tensors.end())
    options.labels = static_cast<int>(head->second.rows);
  options.seed = a.seed;
  options.replace_head = (trains_head<T> && !a.partial) || brings_head(a);
  options.start_from_base = false;  // the file has what training made of those values
  return options;
}

}  // namespace detail

// The base of an adapter, for its task and with its labels. Throws checkpoint_error where neither it nor
// the adapter has a head.
template <backend B, tuning T, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> load_base_for(const std::string& base_folder, const adapter_data& a) {
  load_report report;
  auto model = load_classifier<B, T, Order>(base_folder, detail::base_options<T>(a), &report);
  const auto fresh = std::find_if(report.fresh.begin(), report.fresh.end(), [&](const auto& path) {
    return path.starts_with("head.") && !a.tensors.contains(path);
  });
  if (a.partial && fresh != report.fresh.end())
    throw checkpoint_error(a.source + ": expected a head in the adapter or in " + base_folder +
                           ", found no " + *fresh + " in either");
  return model;
}

// A classifier under tuning T: the base from a folder, the trained part from an adapter. Throws as
// load_base_for and put_adapter.
template <backend B, tuning T, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> load_with_adapter(const std::string& base_folder,
                                               const adapter_data& a) {
  auto model = load_base_for<B, T, Order>(base_folder, a);
  put_adapter(model, a);
  return model;
}

// … the trained part from another folder, of any library's that read_any_adapter knows. Throws
// checkpoint_error also when graft wrote it and it belongs to another base or another tuning.
template <backend B, tuning T, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> load_with_adapter(const std::string& base_folder,
                                               const std::string& adapter_folder) {
  if (!is_graft_adapter(adapter_folder))
    return load_with_adapter<B, T, Order>(
        base_folder, read_any_adapter(adapter_folder, read_bert_config_of(base_folder)));
  const saved_adapter a = read_adapter(adapter_folder);
  if (!a.task)
    throw checkpoint_error(a.source + ": expected the adapter of a model with a head, found one of a "
                           "sentence encoder (load_encoder_with_adapter)");
  if (!a.tasks.empty())
    throw checkpoint_error(a.source + ": expected the adapter of a model with one head, found " +
                           std::to_string(a.tasks.size()) + " tasks (load_tasks_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  return load_with_adapter<B, T, Order>(base_folder, a);
}

// … and a classifier for the tasks that the folder names.
template <backend B, tuning T, norm_order Order = norm_order::after>
task_classifier<B, T, Order> load_tasks_with_adapter(const std::string& base_folder,
                                                     const std::string& adapter_folder) {
  const saved_adapter a = read_adapter(adapter_folder);
  if (a.tasks.empty())
    throw checkpoint_error(a.source + ": expected \"tasks\", found none (load_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  auto model =
      load_task_classifier<B, T, Order>(base_folder, a.tasks, detail::base_options<T>(a));
  put_adapter(model, a);
  return model;
}

// … and a sentence encoder.
template <backend B, tuning T, norm_order Order = norm_order::after>
sentence_encoder<B, T, Order> load_encoder_with_adapter(const std::string& base_folder,
                                                        const adapter_data& a) {
  auto model = load_sentence_encoder<B, T, Order>(base_folder, detail::base_options<T>(a));
  put_adapter(model, a);
  return model;
}

template <backend B, tuning T, norm_order Order = norm_order::after>
sentence_encoder<B, T, Order> load_encoder_with_adapter(const std::string& base_folder,
                                                        const std::string& adapter_folder) {
  if (!is_graft_adapter(adapter_folder))
    return load_encoder_with_adapter<B, T, Order>(
        base_folder, read_any_adapter(adapter_folder, read_bert_config_of(base_folder)));
  const saved_adapter a = read_adapter(adapter_folder);
  if (a.task)
    throw checkpoint_error(a.source + ": expected the adapter of a sentence encoder, found one of a "
                           "model for " + std::string(name_of(*a.task)) + " (load_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  return load_encoder_with_adapter<B, T, Order>(base_folder, a);
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN adapter_data read_any_adapter(const std::string& folder, const bert_config& config) {
  if (is_graft_adapter(folder))
    return read_adapter(folder);
  if (is_peft_adapter(folder))
    return read_peft(folder, config);
  if (is_adapterhub(folder))
    return read_adapterhub(folder, config);
  throw checkpoint_error(folder +
                         ": expected an adapter (graft_adapter.json, or adapter_config.json as PEFT or "
                         "AdapterHub has it), found none");
}

namespace detail {

GRAFT_PLAIN bool brings_head(const adapter_data& a) {
  return std::any_of(a.tensors.begin(), a.tensors.end(),
                     [](const auto& t) { return t.first.starts_with("head."); });
}

}  // namespace detail

}  // namespace graft

#endif
