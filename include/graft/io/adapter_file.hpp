// SPDX-License-Identifier: MIT
// graft's own adapter folder: `graft_adapter.safetensors`, the trained tensors named by parameter path,
// and `graft_adapter.json` with the recipe, the labels and which base it belongs to.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/file.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/recipe_json.hpp>
#include <graft/io/safetensors.hpp>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// Which base a model was built on: the folder's name, and the fingerprint of what is in it.
GRAFT_PLAIN base_identity identify_base(const std::string& folder);

// `strategy` is a word by which a program finds the tuning again; `recipe` is JSON (io/recipe_json.hpp).
struct saved_adapter : adapter_data {
  std::string strategy;
  std::string recipe;
};

// Writes both files, whole or not at all.
GRAFT_PLAIN void write_adapter(const saved_adapter& a, const std::string& folder);

namespace detail {

// What the JSON says, without the tensors.
GRAFT_PLAIN saved_adapter read_adapter_json(const std::string& folder);

}  // namespace detail

// Throws checkpoint_error for anything that is missing or of another kind.
GRAFT_PLAIN saved_adapter read_adapter(const std::string& folder);

// Is it a folder of graft's own?
inline bool is_graft_adapter(const std::string& folder) {
  return detail::is_file(std::filesystem::path(folder) / "graft_adapter.json");
}

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

namespace graft {

inline constexpr int adapter_format = 1;

GRAFT_PLAIN base_identity identify_base(const std::string& folder) {
  auto path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename())
    path = path.parent_path();
  return {path.filename().string(), fingerprint(checkpoint::open(folder))};
}

namespace detail {

inline nlohmann::json numbers_json(const decoration_numbers& numbers) {
  nlohmann::json json = nlohmann::json::object();
  for (const auto& [name, value] : numbers)
    if (value == std::floor(value) && std::abs(value) < 1e15)
      json[name] = static_cast<std::int64_t>(value);
    else
      json[name] = value;
  return json;
}

inline decoration_numbers numbers_from(const nlohmann::json& json, const std::string& file) {
  decoration_numbers numbers;
  for (const auto& [name, value] : json.items())
    numbers.set(name, get<double>(json, name.c_str(), file));
  return numbers;
}

}  // namespace detail

GRAFT_PLAIN void write_adapter(const saved_adapter& a, const std::string& folder) {
  nlohmann::json decorations = nlohmann::json::object(), forms = nlohmann::json::object();
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods) {
      decorations[path][method] = detail::numbers_json(decoration.numbers);
      if (!decoration.form.empty())
        forms[path][method] = std::map<std::string, std::string>(decoration.form.begin(),
                                                                 decoration.form.end());
    }
  nlohmann::json json{{"format", adapter_format},
                      {"strategy", a.strategy},
                      {"recipe", nlohmann::json::parse(a.recipe)},
                      {"decorations", std::move(decorations)},
                      {"forms", std::move(forms)},
                      {"departed", a.departed},
                      {"seed", a.seed},
                      {"base", {{"name", a.base.name}, {"fingerprint", a.base.fingerprint}}}};
  if (a.task) {
    json["task"] = name_of(*a.task);
    json["labels"] = a.labels;
  }
  if (!a.tasks.empty()) {
    json["tasks"] = nlohmann::json::array();
    for (const task& t : a.tasks)
      json["tasks"].push_back({{"name", t.name}, {"labels", t.labels}});
  }
  std::vector<tensor_entry> entries;
  for (const auto& [path, matrix] : a.tensors)
    entries.push_back(detail::entry_of(path, matrix));
  create_folder(folder);
  write_safetensors(std::filesystem::path(folder) / "graft_adapter.safetensors", std::move(entries),
                    {{"format", "graft"}});
  const std::string text = json.dump(2) + "\n";
  write_atomically(std::filesystem::path(folder) / "graft_adapter.json",
                   [&](output_file& out) { out.write(text); });
}

namespace detail {

GRAFT_PLAIN saved_adapter read_adapter_json(const std::string& folder) {
  const auto path = std::filesystem::path(folder) / "graft_adapter.json";
  const nlohmann::json json = read_json(path);
  saved_adapter a;
  a.source = path.string();
  const int format = get<int>(json, "format", a.source);
  if (format != adapter_format)
    throw checkpoint_error(a.source + ": \"format\": expected " + std::to_string(adapter_format) +
                           ", found " + std::to_string(format));
  a.strategy = get<std::string>(json, "strategy", a.source);
  a.labels = get<std::vector<std::string>>(json, "labels", a.source, {});
  if (const auto name = get<std::optional<std::string>>(json, "task", a.source)) {
    try {
      a.task = task_named(*name);
    } catch (const input_error& e) {
      throw checkpoint_error(a.source + ": " + text_of(e));
    }
  } else if (!a.labels.empty()) {
    a.task = task_kind::classification;  // older files know nothing else
  }
  for (const auto& t : get<std::vector<nlohmann::json>>(json, "tasks", a.source, {}))
    a.tasks.push_back({get<std::string>(t, "name", a.source),
                       get<std::vector<std::string>>(t, "labels", a.source)});
  for (auto& name : get<std::vector<std::string>>(json, "departed", a.source, {}))
    a.departed.insert(std::move(name));
  a.seed = get<std::uint64_t>(json, "seed", a.source, 0);
  a.recipe = get<nlohmann::json>(json, "recipe", a.source).dump();
  const auto decorations = get<nlohmann::json>(json, "decorations", a.source);
  if (!decorations.is_object())
    throw checkpoint_error(a.source + ": \"decorations\": expected an object, found none");
  for (const auto& [place, methods] : decorations.items()) {
    if (!methods.is_object())
      throw checkpoint_error(a.source + ": \"decorations\": " + in_quotes(place) +
                             ": expected an object, found none");
    for (const auto& [method, numbers] : methods.items()) {
      if (!numbers.is_object())
        throw checkpoint_error(a.source + ": \"decorations\": " + in_quotes(place) + ": " +
                               in_quotes(method) + ": expected an object, found none");
      a.decorations[place][method].numbers = numbers_from(numbers, a.source);
    }
  }
  // Files of before do not have it: their recipe says it all.
  using form_table = std::map<std::string, std::map<std::string, std::map<std::string, std::string>>>;
  for (const auto& [place, methods] : get<form_table>(json, "forms", a.source, {}))
    for (const auto& [method, form] : methods)
      if (const auto at_place = a.decorations.find(place);
          at_place != a.decorations.end() && at_place->second.contains(method))
        at_place->second.at(method).form.insert(form.begin(), form.end());
  const auto base = get<nlohmann::json>(json, "base", a.source);
  a.base.name = get<std::string>(base, "name", a.source);
  a.base.fingerprint = get<std::string>(base, "fingerprint", a.source);
  return a;
}

}  // namespace detail

GRAFT_PLAIN saved_adapter read_adapter(const std::string& folder) {
  saved_adapter a = detail::read_adapter_json(folder);
  a.values = (std::filesystem::path(folder) / "graft_adapter.safetensors").string();
  const safetensors_file tensors = safetensors_file::open(a.values);
  for (const tensor_entry& entry : tensors.entries())
    a.tensors.emplace(entry.name, detail::matrix_of(entry, tensors.owner(), a.values));
  return a;
}

}  // namespace graft

#endif
