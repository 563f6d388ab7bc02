// SPDX-License-Identifier: MIT
// What a checkpoint or adapter folder holds.
#include "support/program.hpp"

#include <graft/cpu.hpp>
#include <graft/io/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

// Values that no trained parameter should have, found by looking at all of them.
struct value_facts {
  std::int64_t strange = 0;  // neither finite …
  bool all_zero = true;
};

value_facts look_at(const graft::stored_matrix& m) {
  value_facts facts;
  for (const double v : graft::values_of<double>(m)) {
    facts.strange += std::isfinite(v) ? 0 : 1;
    facts.all_zero = facts.all_zero && v == 0;
  }
  return facts;
}

void print(const char* what, const std::string& value) {
  std::printf("%-12s %s\n", what, value.c_str());
}

// "layer.*.attention.query" of "layer.3.attention.query": the first number in a path is a star.
std::string in_every_layer(std::string path) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  for (std::size_t at = 0; at < path.size(); ++at)
    if (digit(path[at]) && (at == 0 || path[at - 1] == '.')) {
      std::size_t end = at;
      while (end < path.size() && digit(path[end]))
        ++end;
      if (end == path.size() || path[end] == '.')
        return path.replace(at, end - at, "*");
    }
  return path;
}

std::string number_text(double value) {
  char digits[32];
  std::snprintf(digits, sizeof digits, "%g", value);
  return digits;
}

std::string described(const graft::adapter_decoration& d) {
  std::string text;
  for (const auto& [name, value] : d.numbers)
    if (value != 0 || name == "rank")
      text += (text.empty() ? "" : ", ") + name + " " + number_text(value);
  for (const auto& [name, value] : d.form)
    if (value != "false" && value != "none")
      text += (text.empty() ? "" : ", ") + name + " " + value;
  return text;
}

void print_types(const std::map<std::string, std::int64_t>& types) {
  std::string text;
  for (const auto& [type, count] : types)
    text += (text.empty() ? "" : ", ") + std::to_string(count) + " " + type;
  print("types", text);
}

void print_warnings(const std::vector<std::string>& warnings) {
  for (const std::string& w : warnings)
    print("suspicious", w);
}

void inspect_adapter(const graft::adapter_data& a, const std::string& format) {
  print("adapter", format);
  if (!a.base.name.empty())
    print("base", a.base.name +
                      (a.base.fingerprint.empty() ? "" : ", fingerprint " + a.base.fingerprint));
  if (a.task)
    print("task", std::string(name_of(*a.task)));
  for (const auto& t : a.tasks)
    print("task", t.name + ": " + std::to_string(t.labels.size()) + " labels");
  if (!a.labels.empty()) {
    std::string text;
    for (const std::string& label : a.labels)
      text += (text.empty() ? "" : ", ") + label;
    print("labels", text);
  }
  // Equal decorations of several layers are a line.
  std::map<std::string, int> lines;
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods)
      ++lines[in_every_layer(path) + "  " + method + "  " + described(decoration)];
  for (const auto& [line, count] : lines)
    print("decorated", line + (count > 1 ? "  (" + std::to_string(count) + " times)" : ""));
  std::vector<std::string> warnings = a.notes;
  std::map<std::string, std::int64_t> types;
  std::map<std::string, int> own;
  std::int64_t parameters = 0;
  for (const auto& [path, m] : a.tensors) {
    parameters += m.size();
    ++types[std::string(name_of(m.type))];
    const bool of_decoration = std::any_of(a.decorations.begin(), a.decorations.end(), [&](const auto& d) {
      return std::any_of(d.second.begin(), d.second.end(), [&](const auto& method) {
        return path.starts_with(d.first + "." + method.first) ||
               path.starts_with(method.first + ".");
      });
    });
    if (!of_decoration)
      ++own[in_every_layer(path) + " [" + std::to_string(m.rows) + ", " + std::to_string(m.cols) + "]"];
    const value_facts facts = look_at(m);
    if (facts.strange > 0)
      warnings.push_back(path + ": " + std::to_string(facts.strange) + " values are not finite");
    else if (facts.all_zero && (path.ends_with(".lora.b") || path.ends_with(".up.weight")))
      warnings.push_back(path + ": all zero, as before any training");
  }
  for (const auto& [line, count] : own)
    print("of the base", line + (count > 1 ? "  (" + std::to_string(count) + " times)" : ""));
  for (const auto& [path, rows] : a.rows) {
    parameters += rows.rows.size();
    print("of the base", path + ": " + std::to_string(rows.entries.size()) + " rows");
  }
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods)
      if (const auto rank = decoration.numbers.find("rank"), alpha = decoration.numbers.find("alpha");
          rank && alpha && *rank > 0 && std::abs(*alpha / *rank) > 64)
        warnings.push_back(path + ": alpha / rank is " + number_text(*alpha / *rank));
  print("parameters", std::to_string(parameters) + " in " +
                          std::to_string(a.tensors.size() + a.rows.size()) + " tensors");
  print_types(types);
  print_warnings(warnings);
}

void inspect_checkpoint(const std::string& folder) {
  const auto from = graft::checkpoint::open(folder);
  const std::string file = graft::detail::config_name(folder);
  std::map<std::string, std::int64_t> types;
  std::vector<std::string> warnings;
  std::int64_t parameters = 0, unaligned = 0;
  for (const std::string& name : from.names()) {
    const auto& t = *from.find(name);
    ++types[std::string(name_of(t.type))];
    parameters += static_cast<std::int64_t>(graft::element_count(t));
    unaligned += reinterpret_cast<std::uintptr_t>(t.data) % graft::size_of(t.type) != 0 ? 1 : 0;
    if (!graft::detail::is_number(t.type))
      continue;
    const graft::stored_matrix values{t.type, 1, static_cast<graft::index_t>(graft::element_count(t)),
                                      t.data, nullptr};
    const value_facts facts = look_at(values);
    if (facts.strange > 0)
      warnings.push_back(name + ": " + std::to_string(facts.strange) + " values are not finite");
    else if (facts.all_zero && !name.ends_with("bias") && !name.ends_with("beta"))
      warnings.push_back(name + ": all zero");
  }
  if (unaligned > 0)
    warnings.push_back(std::to_string(unaligned) +
                       " tensors do not begin where their type must: they are copied when loaded");
  print("checkpoint", folder);
  try {
    const auto config = graft::read_bert_config(from.config(), file);
    const auto task = graft::read_task(from.config(), file);
    print("model", graft::architecture_of(config, task.has_value()));
    print("sizes", std::to_string(config.layers) + " layers, width " + std::to_string(config.width) +
                       ", " + std::to_string(config.heads) + " heads, inner width " +
                       std::to_string(config.inner) + ", " + std::to_string(config.vocabulary) +
                       " tokens, " + std::to_string(config.longest()) + " positions");
    if (const auto labels = graft::read_labels(from.config(), file); task && !labels.empty()) {
      std::string text;
      for (const std::string& label : labels)
        text += (text.empty() ? "" : ", ") + label;
      print("labels", text);
    }
    for (const std::string& name : from.names())
      if (!graft::path_of_checkpoint_name(config.family, name) &&
          !graft::detail::may_stay_unused(name, {}) && !name.ends_with("gamma") &&
          !name.ends_with("beta"))
        warnings.push_back(name + ": no place in this model");
  } catch (const graft::error& e) {
    warnings.push_back(e.what());
  }
  print("parameters", std::to_string(parameters) + " in " + std::to_string(from.names().size()) +
                          " tensors, " + std::to_string(from.files().size()) + " files");
  print_types(types);
  print_warnings(warnings);
}

// Names are the file's own: what they mean to a model is not asked.
graft::adapter_data read_without_base(const std::string& folder) {
  graft::module_names names;
  names.path_of = [](std::string_view module) { return std::optional<std::string>(module); };
  const std::string file = (std::filesystem::path(folder) / "adapter_config.json").string();
  names.layers = graft::get<int>(graft::read_json(file), "num_layers", file, 0);
  return graft::read_peft(folder, names);
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Prints what a folder holds: of a Hugging Face checkpoint its model, sizes, tensors and types; of "
      "an adapter (graft's, PEFT's or, with --model, AdapterHub's) its methods, places, ranks, parameters "
      "and labels; of either whatever is suspicious.",
      "graft-inspect");
  std::string folder, model;
  app.add_option("DIR", folder, "Folder of a checkpoint or of an adapter")->required();
  app.add_option("--model", model, "Folder of an adapter's base: places are called as in recipes")
      ->type_name("DIR");

  return programs::run(app, argc, argv, [&] {
    const bool peft = graft::is_peft_adapter(folder);
    if (graft::is_graft_adapter(folder))
      inspect_adapter(graft::read_adapter(folder), "graft's");
    else if (!model.empty())
      inspect_adapter(graft::read_any_adapter(folder, graft::read_bert_config_of(model)),
                      peft ? "PEFT's" : "AdapterHub's");
    else if (peft)
      inspect_adapter(read_without_base(folder), "PEFT's");
    else if (graft::is_adapterhub(folder))
      throw CLI::ValidationError(
          "--model", "is needed for an adapter of AdapterHub's, whose files do not say where it belongs");
    else
      inspect_checkpoint(folder);
  });
}
