// SPDX-License-Identifier: MIT
// Adapters for Python's PEFT.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/peft_config.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/io/stored_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// What an adapter folder says of its base, beside what the adapter knows.
struct peft_options {
  std::string base_model;  // a name or folder that Python finds it by
};

namespace detail {

GRAFT_PLAIN bool learns_prompt(const adapter_data& a);

}  // namespace detail

// Writes the folder that PeftModel.from_pretrained takes: adapter_config.json, adapter_model.safetensors.
// AdaLoRA is written as LoRA with diag(E) in A, P-tuning and prefixes with a network as what the network
// makes. Throws graft::error, naming the place, for what PEFT's files cannot hold: several methods at
// once, or one that it does not have; nothing is written then. VeRA's shared matrices must be among the
// tensors (data_options.drawn).
GRAFT_PLAIN void write_peft(const adapter_data& a, const module_names& names, const std::string& folder,
                            const peft_options& options = {});

// … the trained part of a model, and a head that was not trained where it goes with a prompt.
template <class Model>
void save_peft(const Model& model, const std::string& folder, const peft_options& options = {}) {
  adapter_data a = data_of(model, {.drawn = true});
  if constexpr (requires { model.config.family; }) {
    const auto parts = list_parts(model.network);
    if (detail::learns_prompt(a))
      for (const auto& p : parts.parameters)
        if (p.path.starts_with("head.") && !p.trained)
          a.tensors[p.path] = stored_at(p);
    const bool with_head =
        std::any_of(parts.parameters.begin(), parts.parameters.end(), [](const auto& p) {
          return p.path.starts_with("head.") || p.path.starts_with("mlm.");
        });
    write_peft(a, hugging_face_names(model.config, with_head), folder, options);
  } else {
    write_peft(a, own_names(model.network), folder, options);
  }
}

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/file.hpp>
#include <graft/io/made_rows.hpp>
#include <graft/io/peft_targets.hpp>
#include <graft/io/safetensors.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

inline std::set<std::string> methods_of(const adapter_data& a) {
  std::set<std::string> methods;
  for (const auto& [path, at_place] : a.decorations)
    for (const auto& [method, decoration] : at_place)
      methods.insert(method);
  return methods;
}

GRAFT_PLAIN bool learns_prompt(const adapter_data& a) {
  const auto methods = methods_of(a);
  return methods == std::set<std::string>{"prompt"} || methods == std::set<std::string>{"prefix"};
}

class peft_writer {
 public:
  peft_writer(const adapter_data& a, const module_names& names, const peft_options& options)
      : a_(a), names_(names) {
    config_["base_model_name_or_path"] =
        options.base_model.empty() ? a.base.name : options.base_model;
    config_["inference_mode"] = true;
    config_["task_type"] = nullptr;
  }

  void write(const std::string& folder) {
    const std::set<std::string> methods = methods_of(a_);
    if (methods == std::set<std::string>{"lora"} || methods == std::set<std::string>{"adalora"} ||
        methods == std::set<std::string>{"dora"})
      add_updates(*methods.begin());
    else if (methods == std::set<std::string>{"ia3"})
      add_ia3();
    else if (methods == std::set<std::string>{"vera"})
      add_vera();
    else if (learns_prompt(a_))
      add_prompt(*methods.begin());
    else
      throw error("write_peft: expected one method that PEFT has (lora, adalora, dora, ia3, vera, "
                  "prompt or prefix), found " +
                  (methods.empty() ? "none" : listed_names({methods.begin(), methods.end()})));
    if (!a_.rows.empty())
      throw error("write_peft: expected no rows of tables, found " + a_.rows.begin()->first);
    add_base();
    for (const auto& [path, matrix] : a_.tensors)
      if (!written_.contains(path))
        throw error("write_peft: " + path + ": expected a tensor that PEFT's file has a place for");
    create_folder(folder);
    const auto at = std::filesystem::path(folder);
    write_safetensors(at / "adapter_model.safetensors", entries_, {{"format", "pt"}});
    const std::string text = config_.dump(2) + "\n";
    write_atomically(at / "adapter_config.json", [&](output_file& out) { out.write(text); });
  }

 private:
  std::string module_of(const std::string& path) const {
    const auto module = names_.name_of(path);
    if (!module)
      throw error("write_peft: " + path + ": expected a module of the model, found none");
    return *module;
  }
  const stored_matrix& tensor(const std::string& path) {
    const auto found = a_.tensors.find(path);
    if (found == a_.tensors.end())
      throw error("write_peft: expected " + path + ", found none");
    written_.insert(path);
    return found->second;
  }
  void add(const std::string& name, const stored_matrix& m, std::vector<index_t> shape) {
    kept_.push_back(m);
    tensor_entry entry = entry_of(name, m);
    entry.shape = std::move(shape);
    entries_.push_back(std::move(entry));
  }
  void add(const std::string& name, const stored_matrix& m) { add(name, m, {m.rows, m.cols}); }

  void set_targets(const std::set<std::string>& modules) {
    config_["target_modules"] = target_names(modules, names_);
  }

  void add_updates(const std::string& method) {
    std::map<std::string, double> ranks, alphas, dropouts;
    bool any_root = false, all_root = true, any_bias = false;
    for (const auto& [path, at_place] : a_.decorations) {
      const bool root = at_place.at(method).numbers.find("over_root") == 1.0;
      any_root |= root;
      all_root &= root;
      if (const auto bias = a_.tensors.find(path + ".lora.bias"); bias != a_.tensors.end()) {
        const auto values = values_of<double>(bias->second);
        any_bias |= std::any_of(values.begin(), values.end(), [](double v) { return v != 0; });
        written_.insert(bias->first);  // zero everywhere is as none
      }
    }
    for (const auto& [path, at_place] : a_.decorations) {
      const decoration_numbers& n = at_place.at(method).numbers;
      const std::string module = module_of(path), name = "base_model.model." + module;
      modules_.insert(module);
      dropouts[module] = n.find("dropout").value_or(0);
      double alpha = n.find("alpha").value_or(8), rank = 0;
      if (a_.tensors.contains(path + ".lora.embedding_a")) {
        const stored_matrix turned = transposed(tensor(path + ".lora.embedding_a"));
        rank = static_cast<double>(turned.rows);
        add(name + ".lora_embedding_A", turned);
        add(name + ".lora_embedding_B", tensor(path + ".lora.embedding_b"));
      } else {
        const std::string before = path + "." + method + ".";
        stored_matrix a = tensor(before + "a");
        const stored_matrix& b = tensor(before + "b");
        rank = static_cast<double>(a.rows);
        if (method == "adalora") {
          a = in_type_of(a, a.rows, values_of<double>(rows_times(a, tensor(before + "e"))));
          alpha *= rank / (rank + 1e-5);  // as AdaLoRA's scale has it
        }
        const auto rows = static_cast<index_t>(n.find("kernel_rows").value_or(0)),
                   cols = static_cast<index_t>(n.find("kernel_cols").value_or(0));
        if (rows * cols > 0) {
          add(name + ".lora_A.weight", a, {a.rows, a.cols / (rows * cols), rows, cols});
          add(name + ".lora_B.weight", b, {b.rows, b.cols, 1, 1});
        } else {
          add(name + ".lora_A.weight", a);
          add(name + ".lora_B.weight", b);
        }
        if (method == "dora") {
          const stored_matrix& length = tensor(before + "magnitude");
          add(name + ".lora_magnitude_vector", length, {length.size()});
        }
        if (any_bias) {
          const auto bias = a_.tensors.contains(path + ".lora.bias")
                                ? tensor(path + ".lora.bias")
                                : make_matrix<float>(1, b.rows).matrix;
          add(name + ".lora_B.bias", bias, {bias.size()});
        }
      }
      if (any_root && !all_root && n.find("over_root") == 1.0)
        alpha *= std::sqrt(rank);  // α/√r as (α √r)/r
      ranks[module] = rank;
      alphas[module] = alpha;
    }
    config_["peft_type"] = "LORA";
    config_["r"] = number_json(most_common(ranks));
    config_["lora_alpha"] = number_json(most_common(alphas));
    config_["rank_pattern"] = pattern_json(ranks, most_common(ranks));
    config_["alpha_pattern"] = pattern_json(alphas, most_common(alphas));
    config_["lora_dropout"] = most_common(dropouts);
    config_["use_rslora"] = any_root && all_root;
    config_["use_dora"] = method == "dora";
    config_["lora_bias"] = any_bias;
    config_["fan_in_fan_out"] = false;
    set_targets(modules_);
  }

  void add_ia3() {
    std::set<std::string> inputs;
    for (const auto& [path, at_place] : a_.decorations) {
      const std::string module = module_of(path);
      const stored_matrix& l = tensor(path + ".ia3.scale");
      modules_.insert(module);
      const auto& form = at_place.at("ia3").form;
      const auto place = form.find("place");
      if (place == form.end())
        throw error("write_peft: " + path +
                    ": ia3: expected to be told whether it scales inputs or outputs");
      const bool input = place->second == "input";
      if (input)
        inputs.insert(module);
      add("base_model.model." + module + ".ia3_l", l,
          input ? std::vector<index_t>{1, l.size()} : std::vector<index_t>{l.size(), 1});
    }
    config_["peft_type"] = "IA3";
    // Their short names must not name each other's modules, either.
    config_["target_modules"] = target_names(modules_, names_);
    config_["feedforward_modules"] = target_names(inputs, names_);
    config_["fan_in_fan_out"] = false;
  }

  void add_vera() {
    double rank = 0, dropout = 0;
    for (const auto& [path, at_place] : a_.decorations) {
      const std::string module = module_of(path), name = "base_model.model." + module;
      modules_.insert(module);
      const stored_matrix &d = tensor(path + ".vera.lambda_d"), &b = tensor(path + ".vera.lambda_b");
      if (rank != 0 && rank != static_cast<double>(d.size()))
        throw error("write_peft: vera: expected one rank, found " + std::to_string(d.size()) +
                    " at " + path);
      rank = static_cast<double>(d.size());
      dropout = at_place.at("vera").numbers.find("dropout").value_or(0);
      add(name + ".vera_lambda_d", d, {d.size()});
      add(name + ".vera_lambda_b", b, {b.size()});
    }
    add("base_model.vera_A", transposed(tensor("vera.a")));
    add("base_model.vera_B", tensor("vera.b"));
    config_["peft_type"] = "VERA";
    config_["r"] = number_json(rank);
    config_["vera_dropout"] = dropout;
    config_["save_projection"] = true;
    config_["projection_prng_key"] = 0;
    set_targets(modules_);
  }

  void add_prompt(const std::string& method) {
    row_maker make(a_);
    stored_matrix rows;
    if (method == "prompt") {
      if (a_.decorations.size() != 1 || !a_.decorations.contains("embeddings.word"))
        throw error("write_peft: prompt: expected it at embeddings.word, where PEFT has it, found it "
                    "at " +
                    a_.decorations.begin()->first);
      rows = make.prompt("embeddings.word.prompt.");
    } else {
      if (!a_.decorations.contains("embeddings.position"))
        throw error("write_peft: prefix: expected positions that begin behind it, as PEFT's do (a "
                    "rule at at::memory | at::position), found none at embeddings.position");
      rows = make.prefix(names_.layers);
    }
    written_.insert(make.taken().begin(), make.taken().end());
    add("prompt_embeddings", rows);
    config_["peft_type"] = method == "prompt" ? "PROMPT_TUNING" : "PREFIX_TUNING";
    config_["num_virtual_tokens"] = rows.rows;
    config_["token_dim"] = method == "prompt" ? rows.cols : rows.cols / (2 * names_.layers);
    config_["num_transformer_submodules"] = 1;
    config_["num_attention_heads"] = names_.heads;
    config_["num_layers"] = names_.layers;
    if (method == "prompt")
      config_["prompt_tuning_init"] = "RANDOM";
    else
      config_["prefix_projection"] = false;
  }
  // What of the base travels along: whole modules, or biases.
  void add_base() {
    const bool needs_task = learns_prompt(a_);
    const std::string prefix = needs_task ? "base_model." : "base_model.model.";
    std::map<std::string, bool> changed;  // by path: the weight, too?
    for (const auto& [path, matrix] : a_.tensors) {
      const std::size_t dot = path.rfind('.');
      if (written_.contains(path) || dot == std::string::npos)
        continue;
      const std::string ending = path.substr(dot), owner = path.substr(0, dot);
      const auto module = ending == ".weight" || ending == ".bias" ? names_.name_of(owner)
                                                                  : std::nullopt;
      if (!module)
        continue;
      changed[owner] |= ending == ".weight";
      const bool wrapped = modules_.contains(*module);
      const bool is_vector = matrix.rows == 1 && (ending == ".bias" || owner.ends_with("norm"));
      add(prefix + *module + (wrapped ? ".base_layer" : "") + ending, tensor(path),
          is_vector ? std::vector<index_t>{matrix.cols}
                    : std::vector<index_t>{matrix.rows, matrix.cols});
    }
    std::vector<std::string> lacking;  // of the head
    bool has_head = false;
    for (const auto& [path, module] : names_.modules)
      if (path.starts_with("head.")) {
        has_head = true;
        const auto found = changed.find(path);
        if (found == changed.end() || !found->second)
          lacking.push_back(module);
      }
    const bool whole_head = has_head && lacking.empty();
    if (needs_task && names_.task && !lacking.empty())
      throw error("write_peft: expected the whole head among the tensors, since PEFT's classes for prompts "
                  "take it from the adapter's file, found none of " + listed_names(lacking));
    std::set<std::string> saved, biases;
    for (const auto& [path, module] : names_.modules) {
      const auto found = changed.find(path);
      if (found == changed.end())
        continue;
      if (!found->second)
        biases.insert(module);
      else if (modules_.contains(module))
        throw error("write_peft: " + path + ": expected a weight that is decorated or replaced, found both");
      else if (whole_head && path.starts_with("head."))
        saved.insert(module.substr(0, module.find('.')));  // as the class of its task calls it
      else
        saved.insert(module);
    }
    if (names_.task && (needs_task || whole_head))
      config_["task_type"] = std::string(task_type_of(*names_.task));
    else if (!names_.task && needs_task)
      config_["task_type"] = "FEATURE_EXTRACTION";
    if (!saved.empty())
      config_["modules_to_save"] = saved;
    if (biases.empty())
      return;
    const bool of_wrapped = biases == modules_;
    const bool all = biases.size() + saved_modules(changed) == modules_with_biases();
    if (config_["peft_type"] != "LORA" || (!of_wrapped && !all))
      throw error("write_peft: expected biases of all modules that are decorated, or of all there are, "
                  "found those of " +
                  listed_names({biases.begin(), biases.end()}));
    config_["bias"] = of_wrapped ? "lora_only" : "all";
  }
  static std::size_t saved_modules(const std::map<std::string, bool>& changed) {
    return static_cast<std::size_t>(
        std::count_if(changed.begin(), changed.end(), [](const auto& c) { return c.second; }));
  }
  std::size_t modules_with_biases() const {
    return static_cast<std::size_t>(
        std::count_if(names_.modules.begin(), names_.modules.end(), [](const auto& m) {
          return !m.first.starts_with("embeddings.") || m.first == "embeddings.norm";
        }));
  }

  const adapter_data& a_;
  const module_names& names_;
  nlohmann::json config_;
  std::set<std::string> modules_;  // that are decorated
  std::set<std::string> written_;
  std::vector<tensor_entry> entries_;
  std::vector<stored_matrix> kept_;  // what the entries point to
};

}  // namespace detail

GRAFT_PLAIN void write_peft(const adapter_data& a, const module_names& names, const std::string& folder,
                            const peft_options& options) {
  detail::peft_writer(a, names, options).write(folder);
}

}  // namespace graft

#endif
