// SPDX-License-Identifier: MIT
// Models from Hugging Face folders, and back.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/fill_network.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/model/task_classifier.hpp>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

GRAFT_PLAIN std::vector<std::string> labels_for(const load_options& options, task_kind task,
                                                const nlohmann::json& config, const std::string& file);

inline std::string config_name(const std::string& folder) {
  return (std::filesystem::path(folder) / "config.json").string();
}

// A head that was made for something else is not the one that is asked for.
GRAFT_PLAIN load_options for_task(load_options options, const nlohmann::json& config,
                                  const std::string& file);

GRAFT_PLAIN bert_config config_for(const load_options& options, const checkpoint& from,
                                   const std::string& file, norm_order order);

}  // namespace detail

// The configuration of the model in a Hugging Face folder.
GRAFT_PLAIN bert_config read_bert_config_of(const std::string& folder);

// A classifier, or what else options.task says, from a Hugging Face folder; a head that the checkpoint
// lacks, or has for another task, is freshly initialised and listed in `report`. Frozen fp32 weights
// stay in the file, mapped read-only.
template <backend B, tuning T, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> load_classifier(const std::string& folder,
                                             const load_options& options = {},
                                             load_report* report = nullptr) {
  const checkpoint from = checkpoint::open(folder);
  const std::string file = detail::config_name(folder);
  const bert_config config = detail::config_for(options, from, file, Order);
  bert_classifier<B, T, Order> model(
      config, detail::labels_for(options, config.task, from.config(), file), options.seed,
      options.numbers, base_values::from_checkpoint);
  load_report r = fill_network(model.network, model.config, from, folder,
                               detail::for_task(options, from.config(), file));
  if (report)
    *report = std::move(r);
  return model;
}

template <backend B, tuning T, norm_order Order>
bert_classifier<B, T, Order> bert_classifier<B, T, Order>::load(const std::string& folder,
                                                                const load_options& options) {
  return load_classifier<B, T, Order>(folder, options);
}

template <backend B, tuning T, norm_order Order>
bert_classifier<B, T, Order> bert_classifier<B, T, Order>::load(const std::string& folder) {
  return load_classifier<B, T, Order>(folder);
}

// A classifier for several tasks from a Hugging Face folder. Its heads are fresh, unless
// save_pretrained wrote the folder: then the tasks must be those, in their order. `labels` and
// `label_names` of the options are the tasks' here.
template <backend B, tuning T, norm_order Order = norm_order::after>
task_classifier<B, T, Order> load_task_classifier(const std::string& folder,
                                                  std::vector<task> tasks,
                                                  load_options options = {},
                                                  load_report* report = nullptr) {
  const checkpoint from = checkpoint::open(folder);
  if (!options.task)
    options.task = task_kind::classification;  // whatever the folder's head is for
  task_classifier<B, T, Order> model(
      detail::config_for(options, from, detail::config_name(folder), Order),
      std::move(tasks), options.seed, options.numbers, base_values::from_checkpoint);
  load_report r = fill_network(model.network, model.config, from, folder, options);
  const bool fresh_heads = std::any_of(r.fresh.begin(), r.fresh.end(), [](const std::string& path) {
    return path.starts_with("head.");
  });
  if (const std::string file = detail::config_name(folder);
      !fresh_heads && read_labels(from.config(), file) != model.labels)
    throw checkpoint_error(file + ": expected the labels of the tasks, " +
                           detail::listed_names(model.labels) + ", found " +
                           detail::listed_names(read_labels(from.config(), file)) +
                           " (load_options.replace_head starts fresh heads)");
  if (report)
    *report = std::move(r);
  return model;
}

// A sentence encoder from a Hugging Face or sentence-transformers folder.
template <backend B, tuning T = untuned, norm_order Order = norm_order::after>
sentence_encoder<B, T, Order> load_sentence_encoder(const std::string& folder,
                                                    const load_options& options = {}) {
  const checkpoint from = checkpoint::open(folder);
  sentence_encoder<B, T, Order> model(
      detail::config_for(options, from, detail::config_name(folder), Order), options.seed,
      options.numbers, base_values::from_checkpoint);
  fill_network(model.network, model.config, from, folder, options);
  return model;
}

// A masked language model from a Hugging Face folder.
template <backend B, tuning T, norm_order Order = norm_order::after>
masked_language_model<B, T, Order> load_masked_language_model(const std::string& folder,
                                                              const load_options& options = {},
                                                              load_report* report = nullptr) {
  const checkpoint from = checkpoint::open(folder);
  masked_language_model<B, T, Order> model(
      detail::config_for(options, from, detail::config_name(folder), Order), options.seed,
      options.numbers, base_values::from_checkpoint);
  load_report r = fill_network(model.network, model.config, from, folder, options);
  if (report)
    *report = std::move(r);
  return model;
}

namespace detail {

GRAFT_PLAIN void write_pretrained(std::vector<tensor_entry> entries, const bert_config& config,
                                  const std::string& architecture,
                                  const std::vector<std::string>& labels, const std::string& folder);

}  // namespace detail

// Writes config.json and model.safetensors (F32) as Hugging Face has them. `architecture` is the name
// of its class, such as "BertForMaskedLM". Throws graft::error for a model with adapters in it or with
// quantised weights.
template <class Model>
void save_pretrained(const Model& model, const std::string& folder, const std::string& architecture,
                     const std::vector<std::string>& labels = {}) {
  std::vector<tensor_entry> entries;
  std::vector<std::unique_ptr<float[]>> copies;
  std::vector<std::string> strangers, without_values;
  for (const auto& p : list_parts(model.network).parameters) {
    const auto name = checkpoint_name(model.config.family, p.path, model.config.task);
    if (!name) {
      strangers.push_back(p.path);
      continue;
    }
    const listed_values found(p);
    const auto values = found.values();
    if (values.empty()) {
      without_values.push_back(p.path);
      continue;
    }
    const std::size_t count = values.size();
    copies.push_back(std::make_unique<float[]>(count));
    std::transform(values.begin(), values.end(), copies.back().get(),
                   [](auto v) { return static_cast<float>(v); });
    std::vector<index_t> shape{p.rows(), p.cols()};
    if (p.rows() == 1 && (p.path.ends_with("bias") || p.path.ends_with("norm.weight")))
      shape.erase(shape.begin());
    entries.push_back({*name, dtype::f32, std::move(shape),
                       reinterpret_cast<const std::byte*>(copies.back().get()),
                       count * sizeof(float)});
  }
  if (!strangers.empty())
    throw error("save_pretrained: expected a model without adapters, found " +
                detail::listed_names(strangers));
  if (!without_values.empty())
    throw error("save_pretrained: expected every weight as it was read, found these quantised: " +
                detail::listed_names(without_values));
  detail::write_pretrained(std::move(entries), model.config, architecture, labels, folder);
}

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

namespace graft {

namespace detail {

GRAFT_PLAIN std::vector<std::string> labels_for(const load_options& options, task_kind task,
                                                const nlohmann::json& config, const std::string& file) {
  const bool answers = task == task_kind::question_answering;
  if (answers || task == task_kind::regression) {
    const std::size_t outputs = answers ? 2 : 1;
    const auto found = options.label_names.empty() ? static_cast<std::size_t>(options.labels)
                                                   : options.label_names.size();
    if (found != 0 && found != outputs)
      throw input_error("load_options: expected " + std::to_string(outputs) + " label" +
                        (answers ? "s" : "") + " for " + std::string(name_of(task)) +
                        (options.task ? "" : ", which " + file + " is for") + ", found " +
                        std::to_string(found) +
                        (options.task ? "" : " (load_options.task says what is asked)"));
    if (!options.label_names.empty())
      return options.label_names;
    return answers ? std::vector<std::string>{"first", "last"} : std::vector<std::string>{"score"};
  }
  if (!options.label_names.empty())
    return options.label_names;
  std::vector<std::string> labels = read_labels(config, file);
  if (options.labels > 0 && static_cast<int>(labels.size()) != options.labels) {
    labels.clear();
    for (int i = 0; i < options.labels; ++i)
      labels.push_back("LABEL_" + std::to_string(i));
  }
  if (labels.empty())
    throw checkpoint_error(file +
                           ": expected id2label or num_labels, found neither; "
                           "say load_options.labels");
  return labels;
}

GRAFT_PLAIN load_options for_task(load_options options, const nlohmann::json& config,
                                  const std::string& file) {
  const auto made_for = read_task(config, file);
  options.replace_head |= options.task && made_for && *options.task != *made_for;
  return options;
}

// A model is made before its tensors are looked for, so its sizes must be such as the checkpoint can
// have: two bytes for each parameter, at least.
inline void expect_sizes(const bert_config& c, const checkpoint& from, const std::string& file) {
  const auto width = static_cast<double>(c.width), inner = static_cast<double>(c.inner);
  const double parameters =
      static_cast<double>(c.vocabulary + c.positions + c.token_types) * width +
      static_cast<double>(c.layers) * width * (4 * width + 2 * inner);
  std::size_t bytes = 0;
  for (const safetensors_file& f : from.files())
    bytes += f.data().size();
  if (2 * parameters > static_cast<double>(bytes))
    throw checkpoint_error(file + ": expected the sizes of a model that fits in the checkpoint's " +
                           std::to_string(bytes) + " bytes, found more");
}

GRAFT_PLAIN bert_config config_for(const load_options& options, const checkpoint& from,
                                   const std::string& file, norm_order order) {
  bert_config c = read_bert_config(from.config(), file, options.task);
  expect_order(order, c, file);
  expect_sizes(c, from, file);
  if (options.dropout) {
    if (!(*options.dropout >= 0 && *options.dropout < 1))
      throw input_error("load_options.dropout: expected at least 0 and below 1, found " +
                        std::to_string(*options.dropout));
    c.hidden_dropout = c.attention_dropout = *options.dropout;
    if (c.task != task_kind::question_answering || c.family == bert_family::distilbert)
      c.head_dropout = *options.dropout;
  }
  return c;
}

GRAFT_PLAIN void write_pretrained(std::vector<tensor_entry> entries, const bert_config& config,
                                  const std::string& architecture,
                                  const std::vector<std::string>& labels, const std::string& folder) {
  create_folder(folder);
  write_safetensors(std::filesystem::path(folder) / "model.safetensors", std::move(entries),
                    {{"format", "pt"}});
  const std::string text = write_bert_config(config, architecture, labels).dump(2) + "\n";
  write_atomically(std::filesystem::path(folder) / "config.json",
                   [&](output_file& out) { out.write(text); });
}

}  // namespace detail

GRAFT_PLAIN bert_config read_bert_config_of(const std::string& folder) {
  const std::string file = detail::config_name(folder);
  return read_bert_config(read_json(file), file);
}

}  // namespace graft

#endif
