// SPDX-License-Identifier: MIT
// The trained part of a model in a folder of its own: `graft_adapter.safetensors`, its tensors
// named by parameter path, and `graft_adapter.json` with the recipe, the labels and which base it
// belongs to.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/io/fingerprint.hpp>
#include <graft/io/json.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/recipe.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

inline constexpr int adapter_format = 1;

// Which base a model was built on: a name for people, a fingerprint for the loader.
struct base_identity {
  std::string name;
  std::string fingerprint;
};

inline base_identity identify_base(const std::string& folder) {
  auto path = std::filesystem::path(folder).lexically_normal();
  if (!path.has_filename())
    path = path.parent_path();
  return {path.filename().string(), fingerprint(checkpoint::open(folder))};
}

namespace detail {

// The value of a key, null where there is none.
inline nlohmann::json value_at(const nlohmann::json& json, const char* key) {
  return json.is_object() && json.contains(key) ? json.at(key) : nlohmann::json();
}

// Do two recipes put the same methods at the same places? Their numbers (of which `decorations` has
// those of each layer) and how they start may differ.
inline bool same_places(const nlohmann::json& a, const nlohmann::json& b) {
  if (!a.is_array() || !b.is_array() || a.size() != b.size())
    return false;
  const auto structure = [](const nlohmann::json& rule) {
    nlohmann::json kept = value_at(rule, "decoration");
    for (auto it = kept.begin(); kept.is_object() && it != kept.end();)
      it = it->is_number() || it.key() == "init" ? kept.erase(it) : std::next(it);
    return kept;
  };
  for (std::size_t i = 0; i < a.size(); ++i) {
    for (const char* key : {"sites", "top", "bottom", "first"})
      if (value_at(a[i], key) != value_at(b[i], key))
        return false;
    if (structure(a[i]) != structure(b[i]))
      return false;
  }
  return true;
}

template <class... Sites>
nlohmann::json site_names(selection<Sites...>) {
  return nlohmann::json::array({std::string(Sites::label)...});
}

template <class What>
nlohmann::json decoration_json(const What& what) {
  nlohmann::json json{{"method", What::name}};
  if constexpr (requires { what.describe([](auto, auto) {}); })
    what.describe([&](std::string_view key, auto value) { json[std::string(key)] = value; });
  return json;
}

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

// A tuning's rules as JSON: sites, decoration and depth of each, but for decorations that say they
// need not be told (`in_files = false`).
template <tuning T>
nlohmann::json recipe_json() {
  nlohmann::json rules = nlohmann::json::array();
  detail::for_each_rule<T>([&](auto r) {
    if constexpr (requires { requires !detail::rule_type<T, r()>::what_type::in_files; })
      return;
    const auto& rule = detail::rule_at<T, r()>;
    nlohmann::json json{
        {"sites", detail::site_names(typename detail::rule_type<T, r()>::where_type{})},
        {"decoration", detail::decoration_json(rule.what)}};
    if (rule.where.top < unbounded)
      json["top"] = rule.where.top;
    if (rule.where.bottom < unbounded)
      json["bottom"] = rule.where.bottom;
    if (rule.where.first > 0)
      json["first"] = rule.where.first;
    rules.push_back(std::move(json));
  });
  return rules;
}

// Throws graft::error where save_adapter would: for frozen values that are not the checkpoint's and are
// quantised.
template <class Model>
void expect_savable(Model& model) {
  for (const auto& p : list_parts(model.network).parameters)
    if (!p.trained && !p.data() && model.departed.contains(p.path))
      throw error("save_adapter: " + p.path +
                  ": expected values to save, since they are not the checkpoint's; found them "
                  "quantised");
}

// Writes the trained part of a model, and of its frozen values those that are not the checkpoint's
// (model.departed). A decorated layer whose file holds something else than its
// trained parameters says so: saved_parts(f) calls f(tag, parameter) for what takes their place,
// saved_numbers() are the numbers that go with it. `strategy` is a word by which a program finds
// the tuning again. Both files appear whole or not at all. Throws as expect_savable does.
template <class Model>
void save_adapter(const Model& model, const std::string& folder, const base_identity& base,
                  const std::string& strategy = "") {
  using scalar = typename Model::backend_type::scalar;
  constexpr dtype type = sizeof(scalar) == 8 ? dtype::f64 : dtype::f32;
  expect_savable(model);
  std::vector<tensor_entry> entries;
  const auto add = [&](const std::string& path, const scalar* values, index_t rows, index_t cols) {
    entries.push_back({path,
                       type,
                       {rows, cols},
                       reinterpret_cast<const std::byte*>(values),
                       static_cast<std::size_t>(rows * cols) * sizeof(scalar)});
  };
  nlohmann::json decorations = nlohmann::json::object();
  std::map<std::string, typename Model::backend_type::parameter> others;
  for (const auto& l : list_parts(model.network).layers) {
    if (!l.may->numbers)
      continue;
    // Over a base that travels along, what was taken out of it stays out.
    const bool as_update =
        l.may->saved_numbers && !model.departed.contains(detail::joined(l.path, at::weight.name));
    decorations[l.path][std::string(l.may->method)] = detail::numbers_json(
        as_update ? l.may->saved_numbers(l.layer) : l.may->numbers(l.layer));
    if (as_update)
      l.may->saved_parts(l.layer, [&](std::string_view tag, auto p) {
        others.emplace(detail::joined(l.path, tag), std::move(p));
      });
  }
  for (const segment& s : model.parameters.segments)
    if (const auto other = others.find(s.path); other != others.end())
      add(s.path, other->second.data, other->second.rows, other->second.cols);
    else
      add(s.path, model.parameters.values.data + s.offset, s.rows, s.cols);
  for (const auto& p : list_parts(model.network).parameters)
    if (!p.trained && model.departed.contains(p.path))
      add(p.path, p.data(), p.rows(), p.cols());
  nlohmann::json json{{"format", adapter_format},
                      {"strategy", strategy},
                      {"recipe", recipe_json<typename Model::tuning_type>()},
                      {"decorations", decorations},
                      {"departed", model.departed},
                      {"seed", model.initial_seed},
                      {"base", {{"name", base.name}, {"fingerprint", base.fingerprint}}}};
  if constexpr (requires { model.labels; }) {
    json["task"] = name_of(model.config.task);
    json["labels"] = model.labels;
  }
  if constexpr (requires { model.tasks; }) {
    json["tasks"] = nlohmann::json::array();
    for (const task& t : model.tasks)
      json["tasks"].push_back({{"name", t.name}, {"labels", t.labels}});
  }
  create_folder(folder);
  write_safetensors(std::filesystem::path(folder) / "graft_adapter.safetensors", std::move(entries),
                    {{"format", "graft"}});
  const std::string text = json.dump(2) + "\n";
  write_atomically(std::filesystem::path(folder) / "graft_adapter.json",
                   [&](output_file& out) { out.write(text); });
}

// What an adapter folder says of itself.
struct adapter_description {
  std::string file;  // its JSON's path, for messages
  std::string strategy;
  std::optional<task_kind> task;    // none: a model without a head
  std::vector<std::string> labels;
  std::vector<graft::task> tasks;  // of a model with several
  std::vector<std::string> departed;  // paths of frozen values that are in the file, too
  std::uint64_t seed = 0;   // of what neither the base nor the adapter holds
  base_identity base;
  nlohmann::json recipe, decorations;
};

inline adapter_description read_adapter(const std::string& folder) {
  const auto path = std::filesystem::path(folder) / "graft_adapter.json";
  const nlohmann::json json = read_json(path);
  adapter_description a;
  a.file = path.string();
  const int format = get<int>(json, "format", a.file);
  if (format != adapter_format)
    throw checkpoint_error(a.file + ": \"format\": expected " + std::to_string(adapter_format) +
                           ", found " + std::to_string(format));
  a.strategy = get<std::string>(json, "strategy", a.file);
  a.labels = get<std::vector<std::string>>(json, "labels", a.file, {});
  if (const auto name = get<std::optional<std::string>>(json, "task", a.file)) {
    try {
      a.task = task_named(*name);
    } catch (const input_error& e) {
      throw checkpoint_error(a.file + ": " +
                             text_of(e));
    }
  } else if (!a.labels.empty()) {
    a.task = task_kind::classification;  // older files know nothing else
  }
  for (const auto& t : get<std::vector<nlohmann::json>>(json, "tasks", a.file, {}))
    a.tasks.push_back({get<std::string>(t, "name", a.file),
                       get<std::vector<std::string>>(t, "labels", a.file)});
  a.departed = get<std::vector<std::string>>(json, "departed", a.file, {});
  a.seed = get<std::uint64_t>(json, "seed", a.file, 0);
  a.recipe = get<nlohmann::json>(json, "recipe", a.file);
  a.decorations = get<nlohmann::json>(json, "decorations", a.file);
  const auto base = get<nlohmann::json>(json, "base", a.file);
  a.base.name = get<std::string>(base, "name", a.file);
  a.base.fingerprint = get<std::string>(base, "fingerprint", a.file);
  return a;
}

namespace detail {

// Gives a decorated layer the numbers that a folder has for it.
template <class B>
void take_numbers(const listed_layer<B>& l, const adapter_description& a) {
  const std::string method(l.may->method);
  const nlohmann::json found = value_at(value_at(a.decorations, l.path.c_str()), method.c_str());
  if (!found.is_object())
    throw checkpoint_error(a.file + ": expected the numbers of " + method + " at " + l.path +
                           ", found none");
  const decoration_numbers numbers = numbers_from(found, a.file);
  const decoration_numbers known = l.may->numbers(l.layer);
  for (const auto& number : numbers)
    if (!known.find(number.first))
      throw checkpoint_error(a.file + ": " + l.path + ": " + method + " has no number \"" +
                             number.first + "\"");
  try {
    l.may->renumber(l.layer, numbers);
  } catch (const error& e) {
    throw checkpoint_error(a.file + ": " + l.path + ": " +
                           text_of(e));
  }
}

}  // namespace detail

// Puts a saved trained part into a model of the same tuning: numbers first, then values. Throws
// checkpoint_error when the numbers do not fit, or tensors are missing, too many or of another
// shape; the model is then as it was.
template <class Model>
void load_trained_part(Model& model, const std::string& folder, const adapter_description& a) {
  using B = typename Model::backend_type;
  const std::string file = (std::filesystem::path(folder) / "graft_adapter.safetensors").string();
  const safetensors_file tensors = safetensors_file::open(file);
  Model next = model.clone();
  for (const auto& l : list_parts(next.network).layers)
    if (l.may->numbers)
      detail::take_numbers(l, a);
  initialize_decorations(next.network, a.seed);  // sizes may be others now
  next.parameters = gather(next.network);

  std::vector<std::string> wrong;
  const auto check = [&](const std::string& path, index_t rows, index_t cols) {
    const tensor_entry* entry = tensors.find(path);
    if (!entry)
      wrong.push_back(path + ": missing");
    else if (!detail::same_shape(entry->shape, rows, cols) || !detail::is_number(entry->type))
      wrong.push_back(path + ": expected [" + std::to_string(rows) + ", " + std::to_string(cols) +
                      "], found " + detail::shape_text(entry->shape) + " " +
                      std::string(name_of(entry->type)));
  };
  for (const segment& s : next.parameters.segments)
    check(s.path, s.rows, s.cols);
  next.departed = {a.departed.begin(), a.departed.end()};
  const auto parts = list_parts(next.network);
  std::vector<const listed_parameter<B>*> frozen;
  for (const listed_parameter<B>& p : parts.parameters)
    if (!p.trained && next.departed.contains(p.path)) {
      frozen.push_back(&p);
      check(p.path, p.rows(), p.cols());
    }
  for (const tensor_entry& entry : tensors.entries())
    if (!next.departed.contains(entry.name) &&
        std::none_of(next.parameters.segments.begin(), next.parameters.segments.end(),
                     [&](const segment& s) { return s.path == entry.name; }))
      wrong.push_back(entry.name + ": no place in this model");
  if (!wrong.empty())
    throw checkpoint_error(file + ": " + detail::listed_names(wrong));
  for (const segment& s : next.parameters.segments) {
    const tensor_entry* entry = tensors.find(s.path);
    typename B::scalar* to = next.parameters.values.data + s.offset;
    convert_to(entry->type, entry->data, element_count(*entry), to);
  }
  for (const listed_parameter<B>* p : frozen) {
    const tensor_entry& entry = *tensors.find(p->path);
    if (p->parameter) {
      *p->parameter = typename B::parameter(p->rows(), p->cols());  // clones share the old one
      convert_to(entry.type, entry.data, element_count(entry), p->parameter->data);
    } else {
      p->weight->owner = detail::converted<typename B::scalar>(entry);
      p->weight->data = static_cast<const typename B::scalar*>(p->weight->owner.get());
    }
  }
  detail::base_filled(parts);  // what is kept in another form is made of the values just read
  model = std::move(next);
}

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
void expect_match(const adapter_description& a, const std::string& base_folder) {
  if (!same_places(a.recipe, recipe_json<T>()))
    throw checkpoint_error(a.file + ": expected the recipe " + recipe_json<T>().dump() +
                           ", found " + a.recipe.dump());
  const base_identity base = identify_base(base_folder);
  if (base.fingerprint != a.base.fingerprint)
    throw checkpoint_error(a.file + ": expected the base " + a.base.name + " with fingerprint " +
                           a.base.fingerprint + ", found " + base_folder + " with fingerprint " +
                           base.fingerprint);
}

// How the base of an adapter is loaded.
template <tuning T>
load_options base_options(const adapter_description& a) {
  load_options options;
  options.task = a.task;
  options.label_names = a.labels;
  options.seed = a.seed;
  options.replace_head = trains_head<T> || std::any_of(a.departed.begin(), a.departed.end(),
                                                       [](const std::string& path) {
                                                         return path.starts_with("head.");
                                                       });
  options.start_from_base = false;  // the file has what training made of those values
  return options;
}

}  // namespace detail

// A classifier under tuning T: the base from one folder, the trained part from another. Throws
// checkpoint_error when the adapter belongs to another base or another tuning.
template <backend B, tuning T, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> load_with_adapter(const std::string& base_folder,
                                               const std::string& adapter_folder) {
  const adapter_description a = read_adapter(adapter_folder);
  if (!a.task)
    throw checkpoint_error(a.file + ": expected the adapter of a model with a head, found one of a "
                           "sentence encoder (load_encoder_with_adapter)");
  if (!a.tasks.empty())
    throw checkpoint_error(a.file + ": expected the adapter of a model with one head, found " +
                           std::to_string(a.tasks.size()) + " tasks (load_tasks_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  auto model = load_classifier<B, T, Order>(base_folder, detail::base_options<T>(a));
  load_trained_part(model, adapter_folder, a);
  return model;
}

// … and a classifier for the tasks that the folder names.
template <backend B, tuning T, norm_order Order = norm_order::after>
task_classifier<B, T, Order> load_tasks_with_adapter(const std::string& base_folder,
                                                     const std::string& adapter_folder) {
  const adapter_description a = read_adapter(adapter_folder);
  if (a.tasks.empty())
    throw checkpoint_error(a.file + ": expected \"tasks\", found none (load_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  auto model =
      load_task_classifier<B, T, Order>(base_folder, a.tasks, detail::base_options<T>(a));
  load_trained_part(model, adapter_folder, a);
  return model;
}

// … and a sentence encoder.
template <backend B, tuning T, norm_order Order = norm_order::after>
sentence_encoder<B, T, Order> load_encoder_with_adapter(const std::string& base_folder,
                                                        const std::string& adapter_folder) {
  const adapter_description a = read_adapter(adapter_folder);
  if (a.task)
    throw checkpoint_error(a.file + ": expected the adapter of a sentence encoder, found one of a "
                           "model for " + std::string(name_of(*a.task)) + " (load_with_adapter)");
  detail::expect_match<T>(a, base_folder);
  auto model = load_sentence_encoder<B, T, Order>(base_folder, detail::base_options<T>(a));
  load_trained_part(model, adapter_folder, a);
  return model;
}

}  // namespace graft
