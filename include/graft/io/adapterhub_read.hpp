// SPDX-License-Identifier: MIT
// Adapters that Python's `adapters` wrote (AdapterHub): one, a union of methods, or a fusion.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/model/bert.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Is it a folder that AdapterHub may have written? PEFT's configurations have the same name and a
// "peft_type".
GRAFT_PLAIN bool is_adapterhub(const std::string& folder);

// What AdapterHub's save_adapter, save_adapter_setup (of a Fuse) or save_adapter_fusion wrote to a
// folder, for a model of this configuration; of the last one the folders of its adapters lie beside
// it. Weights come from safetensors files or, where there are none, from pickles, of which nothing
// is executed. The adapters of a fusion become a, b, c, … in its order, and are `departed`, since
// they are frozen in it.
//
// Throws checkpoint_error where read_adapterhub_config and read_adapterhub_head do, and for tensors
// that are missing, have another shape, or that the configuration does not ask for (invertible
// adapters).
GRAFT_PLAIN adapter_data read_adapterhub(const std::string& folder, const bert_config& c);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/adapterhub_config.hpp>
#include <graft/io/adapterhub_head.hpp>
#include <graft/io/adapterhub_names.hpp>
#include <graft/io/adapterhub_weights.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/file.hpp>
#include <graft/io/json.hpp>
#include <graft/tuning/composition/members.hpp>

namespace graft {

GRAFT_PLAIN bool is_adapterhub(const std::string& folder) {
  const auto at = std::filesystem::path(folder);
  for (const char* file : {"adapter_setup.json", "adapter_fusion_config.json"})
    if (detail::is_file(at / file))
      return true;
  if (!detail::is_file(at / "adapter_config.json"))
    return false;
  const auto json = read_json(at / "adapter_config.json");
  return json.is_object() && json.contains("config") && !json.contains("peft_type");
}

namespace detail {

// Adds the head in a folder, where there is one.
inline void add_adapterhub_head(adapter_data& a, const std::filesystem::path& folder,
                                const bert_config& c) {
  const auto config = folder / "head_config.json";
  if (!is_file(config))
    return;
  const adapterhub_head head = read_adapterhub_head(read_json(config), c, config.string());
  adapterhub_weights weights(folder, "model_head.safetensors", "pytorch_model_head.bin", "");
  for (const adapterhub_tensor& t : head.tensors)
    a.tensors[t.path] = weights.take(t);
  weights.expect_used();
  a.task = head.task;
  a.labels = head.labels;
}

inline adapterhub_config config_in(const std::filesystem::path& folder, const bert_config& c) {
  const auto file = folder / "adapter_config.json";
  return read_adapterhub_config(read_json(file), c, file.string());
}

inline adapter_data read_one_adapter(const std::filesystem::path& folder, const bert_config& c) {
  adapterhub_config config = config_in(folder, c);
  adapterhub_weights weights = adapter_weights(folder, c);
  adapter_data a;
  a.source = config.file;
  a.values = weights.file();
  a.base.name = config.base;
  for (const adapterhub_tensor& t : adapterhub_tensors(config.decorations, c, config.name))
    a.tensors[t.path] = weights.take(t);
  weights.expect_used();
  a.decorations = std::move(config.decorations);
  a.notes = std::move(config.notes);
  add_adapterhub_head(a, folder, c);
  return a;
}

// Adds one of the adapters that a fusion weighs, which stay frozen, under the name that graft gives
// it.
inline void add_member(adapter_data& a, const std::filesystem::path& folder, const bert_config& c,
                       char letter) {
  const adapterhub_config config = config_in(folder, c);
  adapterhub_weights weights = adapter_weights(folder, c);
  for (const auto& [path, methods] : config.decorations)
    for (const auto& [method, d] : methods) {
      if (method != "bottleneck" || chosen(d, "gating", "true") || chosen(d, "ln_after", "true"))
        throw checkpoint_error(config.file +
                               ": expected a bottleneck without gate and norm after it in a "
                               "fusion, found another adapter at " +
                               path);
      a.decorations[path_of_member(path, letter)][method] = d;
    }
  for (const adapterhub_tensor& t : adapterhub_tensors(config.decorations, c, config.name)) {
    const std::string path = path_of_member(t.path, letter);
    a.tensors[path] = weights.take(t);
    a.departed.insert(path);
  }
  weights.expect_used();
  a.base.name = config.base;
  a.notes.insert(a.notes.end(), config.notes.begin(), config.notes.end());
}

// Adds a fusion's own matrices, at the places of its first adapter.
inline void add_fusion(adapter_data& a, const std::filesystem::path& folder,
                       const nlohmann::json& json, const bert_config& c) {
  adapterhub_options options(get<nlohmann::json>(json, "config", a.source), a.source + ": config");
  options.expect("key", true);
  options.expect("query", true);
  options.expect("query_before_ln", false);
  options.expect("residual_before", false);
  options.expect("temperature", false);
  options.ignore({"regularization", "value_initialized", "value_before_softmax", "dropout_prob"});
  const bool value = options.get<bool>("value", true);
  options.note_unknown(a.notes);
  adapterhub_weights weights(folder, "model_adapter_fusion.safetensors",
                             "pytorch_model_adapter_fusion.bin", prefix_of(c.family));
  a.values = weights.file();
  const auto name = get<std::string>(json, "name", a.source);
  std::vector<adapterhub_tensor> tensors;
  adapterhub_lister lister(c, name, tensors);
  constexpr std::string_view first = ".adapter.a";
  for (const auto& [path, methods] : a.decorations)
    if (path.ends_with(first))
      lister.fusion(path.substr(0, path.size() - first.size()), name, value);
  for (const adapterhub_tensor& t : tensors)
    a.tensors[t.path] = weights.take(t);
  weights.expect_used();
}

// A file names folders beside it, and no others.
inline void expect_folder_name(const std::string& name, const std::string& file) {
  if (!is_plain_file_name(name))
    throw checkpoint_error(file + ": expected the name of a folder beside it, found " +
                           in_quotes(name));
}

// `folder` has the fusion, and the folders of its adapters lie in `around`, called as they are.
inline adapter_data read_fusion(const std::filesystem::path& folder,
                                const std::filesystem::path& around, const bert_config& c) {
  adapter_data a;
  const auto file = folder / "adapter_fusion_config.json";
  a.source = file.string();
  const auto json = read_json(file);
  const auto names = get<std::vector<std::string>>(json, "adapter_names", a.source);
  if (names.size() < 2 || names.size() > most_adapters)
    throw checkpoint_error(a.source + ": \"adapter_names\": expected 2 to " +
                           std::to_string(most_adapters) + ", found " +
                           std::to_string(names.size()));
  char letter = 'a';
  for (const std::string& name : names) {
    expect_folder_name(name, a.source);
    add_member(a, around / name, c, letter++);
  }
  add_fusion(a, folder, json, c);
  return a;
}

// {"type": "Fuse", "children": [{"type": "single", "children": ["a"]}, …]}
inline adapter_data read_setup(const std::filesystem::path& folder, const bert_config& c) {
  const std::string file = (folder / "adapter_setup.json").string();
  const auto json = read_json(file);
  const auto setup = get<nlohmann::json>(json, "adapter_setup", file);
  if (const auto type = get<std::string>(setup, "type", file); type != "Fuse")
    throw checkpoint_error(file + ": \"adapter_setup\": expected a Fuse, found " + in_quotes(type));
  std::string names;
  for (const auto& child : get<std::vector<nlohmann::json>>(setup, "children", file)) {
    const auto type = get<std::string>(child, "type", file);
    const auto own = get<std::vector<std::string>>(child, "children", file);
    if (type != "single" || own.size() != 1)
      throw checkpoint_error(file +
                             ": \"adapter_setup\": expected single adapters in the Fuse, found " +
                             in_quotes(type));
    names += (names.empty() ? "" : ",") + own.front();
  }
  expect_folder_name(names, file);
  adapter_data a = read_fusion(folder / names, folder, c);
  const auto head = json.contains("head_setup") ? json.at("head_setup") : nlohmann::json();
  if (head.is_string())
    expect_folder_name(head.get<std::string>(), file);
  if (head == true || head.is_string())
    add_adapterhub_head(a, head == true ? folder : folder / head.get<std::string>(), c);
  else if (!head.is_null() && head != false)
    throw checkpoint_error(file +
                           ": \"head_setup\": expected true, null or the name of one head, found " +
                           described(head));
  return a;
}

}  // namespace detail

GRAFT_PLAIN adapter_data read_adapterhub(const std::string& folder, const bert_config& c) {
  const auto at = std::filesystem::path(folder);
  adapter_data a;
  if (detail::is_file(at / "adapter_setup.json")) {
    a = detail::read_setup(at, c);
  } else if (detail::is_file(at / "adapter_fusion_config.json")) {
    const auto around = std::filesystem::absolute(at / ".").lexically_normal();
    a = detail::read_fusion(
        at, (around.has_filename() ? around : around.parent_path()).parent_path(), c);
    detail::add_adapterhub_head(a, at, c);
  } else {
    a = detail::read_one_adapter(at, c);
  }
  a.partial = true;
  return a;
}

}  // namespace graft

#endif
