// SPDX-License-Identifier: MIT
// Adapters for Python's PEFT.
#pragma once

#include <graft/core/error.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/file.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/peft_read.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace graft {

// What an adapter folder says of its base, beside what the adapter knows.
struct peft_options {
  std::string base_model;  // a name or folder that Python finds it by
};

namespace detail {

// The number that most have; the smaller of two.
inline double most_common(const std::map<std::string, double>& values) {
  std::map<double, int> counts;
  for (const auto& [module, value] : values)
    ++counts[value];
  double best = 0;
  int most = 0;
  for (const auto& [value, count] : counts)
    if (count > most) {
      best = value;
      most = count;
    }
  return best;
}

inline nlohmann::json number_json(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e15)
    return static_cast<std::int64_t>(value);
  return value;
}

// What the values of `values` that are not the common one are called by.
inline nlohmann::json pattern_json(const std::map<std::string, double>& values, double common) {
  nlohmann::json pattern = nlohmann::json::object();
  for (const auto& [module, value] : values)
    if (value != common)
      pattern[module] = number_json(value);
  return pattern;
}

// The last `parts` steps of a module's name.
inline std::string ending_of(const std::string& module, int parts) {
  std::size_t at = module.size();
  for (; parts > 0 && at != std::string::npos; --parts)
    at = at == 0 ? std::string::npos : module.rfind('.', at - 1);
  return at == std::string::npos ? module : module.substr(at + 1);
}

// The shortest names whose modules are just these: "query" where no other module is called so.
inline std::set<std::string> target_names(const std::set<std::string>& modules,
                                          const module_names& names) {
  for (int parts = 1; parts <= 4; ++parts) {
    std::set<std::string> short_names;
    for (const std::string& module : modules)
      short_names.insert(ending_of(module, parts));
    const bool exact = std::none_of(names.modules.begin(), names.modules.end(), [&](const auto& m) {
      return !modules.contains(m.second) &&
             std::any_of(short_names.begin(), short_names.end(), [&](const std::string& name) {
               return m.second == name || m.second.ends_with("." + name);
             });
    });
    if (exact)
      return short_names;
  }
  return modules;
}

// y = f(x Wᵀ + b) in double, for the small networks that make prompts.
inline std::vector<double> small_map(const std::vector<double>& x, index_t rows,
                                     const adapter_data& a, const std::string& path,
                                     double (*f)(double)) {
  const auto found = a.tensors.find(path + ".weight"), bias_at = a.tensors.find(path + ".bias");
  if (found == a.tensors.end() || bias_at == a.tensors.end())
    throw error("write_peft: " + path + ": expected weight and bias, found none");
  const auto w = values_of<double>(found->second), b = values_of<double>(bias_at->second);
  const index_t in = found->second.cols, out = found->second.rows;
  expect_size((path + ": columns").c_str(), in * rows, static_cast<index_t>(x.size()));
  std::vector<double> y(static_cast<std::size_t>(rows * out));
  for (index_t i = 0; i < rows; ++i)
    for (index_t o = 0; o < out; ++o) {
      double sum = b[static_cast<std::size_t>(o)];
      for (index_t j = 0; j < in; ++j)
        sum += x[static_cast<std::size_t>(i * in + j)] * w[static_cast<std::size_t>(o * in + j)];
      y[static_cast<std::size_t>(i * out + o)] = f(sum);
    }
  return y;
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
    std::set<std::string> methods;
    for (const auto& [path, at_place] : a_.decorations)
      for (const auto& [method, decoration] : at_place)
        methods.insert(method);
    const bool learns_prompt = methods == std::set<std::string>{"prompt"} ||
                               methods == std::set<std::string>{"prefix"};
    if (methods == std::set<std::string>{"lora"} || methods == std::set<std::string>{"adalora"} ||
        methods == std::set<std::string>{"dora"})
      add_updates(*methods.begin());
    else if (methods == std::set<std::string>{"ia3"})
      add_ia3();
    else if (methods == std::set<std::string>{"vera"})
      add_vera();
    else if (learns_prompt)
      add_prompt(*methods.begin());
    else
      throw error("write_peft: expected one method that PEFT has (lora, adalora, dora, ia3, vera, "
                  "prompt or prefix), found " +
                  (methods.empty() ? "none" : listed_names({methods.begin(), methods.end()})));
    if (!a_.rows.empty())
      throw error("write_peft: expected no rows of tables, found " + a_.rows.begin()->first);
    add_base(learns_prompt ? "base_model." : "base_model.model.", learns_prompt);
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
          a = as_file(values_of<double>(rows_times(a, tensor(before + "e"))), a);
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
      const bool input = place != form.end() && place->second == "input";
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
    stored_matrix rows;
    if (method == "prompt") {
      const std::string path = "embeddings.word.prompt.";
      if (a_.decorations.size() != 1 || !a_.decorations.contains("embeddings.word"))
        throw error("write_peft: prompt: expected it at embeddings.word, where PEFT has it, found it "
                    "at " +
                    a_.decorations.begin()->first);
      rows = tensor(path + "rows");
      if (a_.tensors.contains(path + "first.weight")) {
        const auto relu = [](double x) { return std::max(x, 0.0); };
        auto x = small_map(values_of<double>(rows), rows.rows, a_, path + "first", relu);
        x = small_map(x, rows.rows, a_, path + "second", relu);
        x = small_map(x, rows.rows, a_, path + "third", [](double y) { return y; });
        for (const char* part : {"first", "second", "third"})
          for (const char* ending : {".weight", ".bias"})
            tensor(path + part + ending);
        rows = as_file(x, rows);
      }
    } else {
      rows = prefix_rows();
    }
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
  // Values computed in double, of the type that the file has.
  static stored_matrix as_file(const std::vector<double>& x, const stored_matrix& like) {
    const index_t cols = static_cast<index_t>(x.size()) / like.rows;
    if (like.type == dtype::f64)
      return stored(like.rows, cols, x);
    return stored(like.rows, cols, std::vector<float>(x.begin(), x.end()));
  }
  // Every layer's keys and values side by side.
  stored_matrix prefix_rows() {
    if (!a_.decorations.contains("embeddings.position"))
      throw error("write_peft: prefix: expected positions that begin behind it, as PEFT's do (a rule "
                  "at at::memory | at::position), found none at embeddings.position");
    std::vector<double> all;
    stored_matrix like;
    const index_t parts = 2 * names_.layers;
    const bool encoded = a_.tensors.contains("prefix.embedding");
    std::vector<double> low;
    if (encoded) {
      like = tensor("prefix.embedding");
      low = small_map(values_of<double>(like), like.rows, a_, "prefix.down",
                      [](double x) { return std::tanh(x); });
      tensor("prefix.down.weight");
      tensor("prefix.down.bias");
    }
    for (index_t i = 0; i < names_.layers; ++i) {
      const std::string path = "layer." + std::to_string(i) + ".attention.memory.prefix.";
      if (a_.tensors.contains(path + "gate.weight"))
        throw error("write_peft: prefix: expected no gate, found one at " + path);
      std::vector<std::vector<double>> halves;
      if (encoded) {
        const auto both =
            small_map(low, like.rows, a_, path + "up", [](double x) { return x; });
        tensor(path + "up.weight");
        tensor(path + "up.bias");
        const auto width = static_cast<index_t>(both.size()) / (2 * like.rows);
        const stored_matrix whole = stored(like.rows, 2 * width, both);
        for (const index_t first : {index_t(0), width})
          halves.push_back(values_of<double>(columns_of(whole, first, width)));
      } else {
        like = tensor(path + "keys");
        halves = {values_of<double>(like), values_of<double>(tensor(path + "values"))};
      }
      const auto width = halves[0].size() / static_cast<std::size_t>(like.rows);
      all.resize(halves[0].size() * static_cast<std::size_t>(parts));
      for (std::size_t half = 0; half < 2; ++half)
        for (std::size_t r = 0; r < static_cast<std::size_t>(like.rows); ++r)
          std::copy_n(halves[half].begin() + static_cast<std::ptrdiff_t>(r * width), width,
                      all.begin() + static_cast<std::ptrdiff_t>(
                                        (r * static_cast<std::size_t>(parts) +
                                         2 * static_cast<std::size_t>(i) + half) *
                                        width));
    }
    return as_file(all, like);
  }

  // What of the base travels along: whole modules, or biases.
  void add_base(const std::string& prefix, bool needs_task) {
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
    std::set<std::string> saved, biases, head;
    bool whole_head = true;
    for (const auto& [path, module] : names_.modules) {
      const auto found = changed.find(path);
      const bool in_head = path.starts_with("head.");
      if (in_head) {
        whole_head &= found != changed.end() && found->second;
        head.insert(module.substr(0, module.find('.')));
      }
      if (found == changed.end())
        continue;
      if (!found->second)
        biases.insert(module);
      else if (modules_.contains(module))
        throw error("write_peft: " + path + ": expected a weight that is decorated or replaced, found both");
      else if (!in_head)
        saved.insert(module);
      else
        saved.insert(module.substr(0, module.find('.')));
    }
    if (names_.task && (needs_task || (whole_head && !head.empty())))
      config_["task_type"] = task_type(*names_.task);
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
  static const char* task_type(task_kind task) {
    switch (task) {
      case task_kind::classification:
      case task_kind::regression: return "SEQ_CLS";
      case task_kind::token_classification: return "TOKEN_CLS";
      case task_kind::question_answering: return "QUESTION_ANS";
    }
    return "SEQ_CLS";
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

// Writes the folder that PeftModel.from_pretrained takes: adapter_config.json, adapter_model.safetensors.
// AdaLoRA is written as LoRA with diag(E) in A, P-tuning and prefixes with a network as what the network
// makes. Throws graft::error, naming the place, for what PEFT's files cannot hold: several methods at
// once, or one that it does not have; nothing is written then. VeRA's shared matrices must be among the
// tensors (data_options.drawn).
inline void write_peft(const adapter_data& a, const module_names& names, const std::string& folder,
                       const peft_options& options = {}) {
  detail::peft_writer(a, names, options).write(folder);
}

// … the trained part of a model.
template <class Model>
void save_peft(const Model& model, const std::string& folder, const peft_options& options = {}) {
  const adapter_data a = data_of(model, {.drawn = true});
  if constexpr (requires { model.config.family; })
    write_peft(a, hugging_face_names(model.config, requires { model.labels; }), folder, options);
  else
    write_peft(a, own_names(model.network), folder, options);
}

}  // namespace graft
