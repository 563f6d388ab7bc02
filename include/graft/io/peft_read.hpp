// SPDX-License-Identifier: MIT
// Adapters that Python's PEFT wrote.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/adapter_data.hpp>
#include <graft/io/module_names.hpp>
#include <graft/model/task_kind.hpp>

#include <algorithm>
#include <array>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// Is it a folder that PEFT may have written?
GRAFT_PLAIN bool is_peft_adapter(const std::string& folder);

// Reads a folder that PEFT's save_pretrained wrote, its tensors in either form. Ranks are those of the
// tensors and must be what adapter_config.json says; P-tuning comes as the prompt it made; AdaLoRA as
// low-rank updates with diag(E) in A; what modules_to_save, bias and trainable tokens change of the base
// is in `tensors` and `rows`. Throws checkpoint_error, naming names, for tensors of modules that the model does not have,
// targets without tensors and tensors without targets, and what changes the arithmetic in ways that
// graft does not know. Keys that mean nothing to it are in `notes`.
GRAFT_PLAIN adapter_data read_peft(const std::string& folder, const module_names& names);

GRAFT_PLAIN adapter_data read_peft(const std::string& folder, const bert_config& config);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/fill_network.hpp>
#include <graft/io/json.hpp>
#include <graft/io/peft_config.hpp>
#include <graft/io/peft_tensors.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/io/stored_matrix.hpp>
#include <graft/io/torch_file.hpp>

namespace graft {

GRAFT_PLAIN bool is_peft_adapter(const std::string& folder) {
  const auto at = std::filesystem::path(folder);
  return detail::is_file(at / "adapter_config.json") &&
         (detail::is_file(at / "adapter_model.safetensors") ||
          detail::is_file(at / "adapter_model.bin"));
}

namespace detail {

class peft_reader {
 public:
  peft_reader(const std::string& folder, const module_names& names)
      : names_(names),
        config_(read_peft_config((std::filesystem::path(folder) / "adapter_config.json").string())) {
    const auto at = std::filesystem::path(folder);
    data_.source = config_.file;
    data_.values = (at / (is_file(at / "adapter_model.safetensors")
                              ? "adapter_model.safetensors"
                              : "adapter_model.bin"))
                       .string();
    data_.partial = true;
    data_.base.name = std::filesystem::path(config_.base).filename().string();
    data_.task = task_of_type(config_.task_type);
  }

  adapter_data read() {
    if (data_.values.ends_with(".bin"))
      take_all(torch_file::open(data_.values));
    else
      take_all(safetensors_file::open(data_.values));
    for (const std::string& key : config_.ignored)
      data_.notes.push_back(config_.file + ": " + in_quotes(key) + " is not known and was ignored");
    if (!unplaced_.empty())
      throw checkpoint_error(data_.values + ": expected tensors of this model's modules, found " +
                             listed_names(unplaced_));
    finish();
    check_targets();
    check_saved();
    return std::move(data_);
  }

 private:
  template <class File>
  void take_all(const File& file) {
    for (const tensor_entry& entry : file.entries()) {
      if (!is_number(entry.type))
        throw checkpoint_error(data_.values + ": tensor " + in_quotes(entry.name) +
                               ": expected F32, F16, BF16 or F64, found " +
                               std::string(graft::name_of(entry.type)));
      const bool vector_of_outputs = entry.shape.size() == 2 && entry.shape[1] == 1;
      take(unwrapped(entry.name), flattened(entry, file.owner()), vector_of_outputs);
    }
  }

  void take(const std::string& name, const stored_matrix& m, bool vector_of_outputs) {
    const auto tensor = recognised(name, config_, names_);
    if (!tensor) {
      unplaced_.push_back(name);
      return;
    }
    const std::string& path = tensor->path;
    switch (tensor->part) {
      case peft_part::piece:
        if (config_.type == "IA3")
          take_scale(path, m, vector_of_outputs);
        else
          pieces_[path][std::string(tensor->ending)] = m;
        return;
      case peft_part::token_rows: token_rows_.emplace(path, m); return;
      case peft_part::vera_a: take_base("vera.a", transposed(m)); return;
      case peft_part::vera_b: take_base("vera.b", m); return;
      case peft_part::prompt: prompt_ = m; return;
      case peft_part::replaced: return;
      case peft_part::base:
        take_base(path + std::string(tensor->ending), m);
        if (path == "head.classifier" && tensor->ending == ".weight")
          data_.task = task_of_head(name, m.rows);
        return;
    }
  }
  void take_scale(const std::string& path, stored_matrix row, bool of_outputs) {
    data_.decorations[path]["ia3"].form["place"] = of_outputs ? "output" : "input";
    row.cols = row.size();
    row.rows = 1;
    data_.tensors[path + ".ia3.scale"] = row;
  }
  void take_base(const std::string& path, const stored_matrix& m) {
    data_.tensors[path] = m;
    data_.departed.insert(path);
  }
  // What a head with that many outputs is for, as far as the configuration leaves it open.
  task_kind task_of_head(std::string_view name, index_t outputs) const {
    if (name.starts_with("qa_outputs"))
      return task_kind::question_answering;
    const task_kind told = data_.task.value_or(task_kind::classification);
    return told == task_kind::classification && outputs == 1 ? task_kind::regression : told;
  }

  using piece_list = std::map<std::string, stored_matrix, std::less<>>;

  const stored_matrix& piece(const std::string& path, const piece_list& of, const char* name) const {
    const auto found = of.find(name);
    if (found == of.end())
      throw checkpoint_error(data_.values + ": " + path + ": expected " + name +
                             " beside the other parts of its update, found none");
    return found->second;
  }

  std::string module_of(const std::string& path) const {
    return names_.name_of(path).value_or(path);
  }

  decoration_numbers numbers_of_update(const std::string& path, index_t rank, bool with_dropout) {
    const std::string module = module_of(path);
    const auto expected = value_for(config_.ranks, module, config_.file).value_or(config_.rank);
    if (config_.type != "ADALORA" && expected != static_cast<double>(rank))
      throw checkpoint_error(data_.values + ": " + module + ": expected rank " +
                             std::to_string(static_cast<long long>(expected)) +
                             " as adapter_config.json says, found " + std::to_string(rank));
    decoration_numbers n{
        {"rank", static_cast<double>(rank)},
        {"alpha", value_for(config_.alphas, module, config_.file).value_or(config_.alpha)},
        {"over_root", config_.over_root}};
    if (with_dropout)
      n.set("dropout", config_.dropout);
    return n;
  }

  // What the pieces of each module make.
  void finish() {
    for (const auto& [path, pieces] : pieces_)
      if (pieces.contains("lambda_d") || pieces.contains("lambda_b"))
        finish_vera(path, pieces);
      else if (pieces.contains("table_a") || pieces.contains("table_b"))
        finish_table(path, pieces);
      else if (config_.type == "ADALORA")
        finish_adalora(path, pieces);
      else
        finish_update(path, pieces);
    if (prompt_)
      finish_prompt(*prompt_);
    for (const auto& [path, rows] : token_rows_)
      finish_rows(path, rows);
    const bool vera = config_.type == "VERA";
    if (vera && (!data_.tensors.contains("vera.a") || !data_.tensors.contains("vera.b")))
      throw checkpoint_error(data_.values +
                             ": expected vera_A and vera_B, found none: they were left to a seed of "
                             "PyTorch's generator (save_projection=True writes them)");
  }

  void finish_update(const std::string& path, const piece_list& pieces) {
    const std::string method = config_.dora ? "dora" : "lora";
    const stored_matrix &a = piece(path, pieces, "a"), &b = piece(path, pieces, "b");
    data_.decorations[path][method].numbers = numbers_of_update(path, a.rows, true);
    const std::string before = path + "." + method + ".";
    data_.tensors[before + "a"] = a;
    data_.tensors[before + "b"] = b;
    if (config_.dora) {
      stored_matrix length = piece(path, pieces, "magnitude");
      length.cols = length.size();
      length.rows = 1;
      data_.tensors[before + "magnitude"] = length;
    }
    if (const auto bias = pieces.find("bias"); bias != pieces.end())
      data_.tensors[before + "bias"] = bias->second;
  }

  void finish_table(const std::string& path, const piece_list& pieces) {
    const stored_matrix& a = piece(path, pieces, "table_a");
    if (config_.dora)
      throw checkpoint_error(config_.file + ": \"use_dora\": expected false for a table (" +
                             module_of(path) + "), found true");
    data_.decorations[path]["lora"].numbers = numbers_of_update(path, a.rows, false);
    data_.tensors[path + ".lora.embedding_a"] = transposed(a);
    data_.tensors[path + ".lora.embedding_b"] = piece(path, pieces, "table_b");
  }

  // diag(E) goes into A: a low-rank update whose rank is what was left of it, or one of zeros.
  void finish_adalora(const std::string& path, const piece_list& pieces) {
    stored_matrix a = piece(path, pieces, "a"), b = piece(path, pieces, "b");
    const stored_matrix& e = piece(path, pieces, "e");
    if (e.size() != a.rows || b.cols != a.rows)
      throw checkpoint_error(data_.values + ": " + module_of(path) + ": expected one rank, found " +
                             std::to_string(a.rows) + ", " + std::to_string(e.size()) + " and " +
                             std::to_string(b.cols));
    a = rows_times(a, e);
    if (a.rows == 0) {
      // Nothing was left of it, so no values vouch for its sizes.
      constexpr index_t most = index_t{1} << 20;
      if (a.cols > most || b.rows > most)
        throw checkpoint_error(data_.values + ": " + module_of(path) + ": expected sizes of at most " +
                               std::to_string(most) + ", found " +
                               std::to_string(std::max(a.cols, b.rows)));
      a = make_matrix<float>(1, a.cols).matrix;
      b = make_matrix<float>(b.rows, 1).matrix;
    }
    decoration_numbers n = numbers_of_update(path, a.rows, true);
    // PEFT's scale is α / (init_r + 1e-5), whatever the rank is in the end.
    n.set("alpha", config_.alpha * static_cast<double>(a.rows) / (config_.rank + 1e-5));
    n.set("over_root", 0);
    data_.decorations[path]["lora"].numbers = n;
    data_.tensors[path + ".lora.a"] = a;
    data_.tensors[path + ".lora.b"] = b;
  }

  void finish_vera(const std::string& path, const piece_list& pieces) {
    const stored_matrix& d = piece(path, pieces, "lambda_d");
    data_.decorations[path]["vera"].numbers =
        decoration_numbers{{"rank", static_cast<double>(d.size())}, {"dropout", config_.dropout}};
    data_.tensors[path + ".vera.lambda_d"] = d;
    data_.tensors[path + ".vera.lambda_b"] = piece(path, pieces, "lambda_b");
  }

  void finish_prompt(const stored_matrix& m) {
    const decoration_numbers tokens{{"tokens", static_cast<double>(m.rows)}};
    if (config_.virtual_tokens != m.rows)
      throw checkpoint_error(data_.values + ": prompt_embeddings: expected " +
                             std::to_string(config_.virtual_tokens) +
                             " rows as \"num_virtual_tokens\" says, found " +
                             std::to_string(m.rows));
    if (config_.type != "PREFIX_TUNING") {
      auto& d = data_.decorations["embeddings.word"]["prompt"];
      d.numbers = tokens;
      d.form["encoder"] = "none";
      data_.tensors["embeddings.word.prompt.rows"] = m;
      return;
    }
    const index_t parts = 2 * names_.layers;
    if (parts == 0 || m.cols % parts != 0)
      throw checkpoint_error(data_.values + ": prompt_embeddings: expected a multiple of " +
                             std::to_string(parts) + " columns, found " + std::to_string(m.cols));
    const index_t width = m.cols / parts;
    data_.decorations["embeddings.position"]["prefix"].numbers = tokens;
    for (index_t i = 0; i < names_.layers; ++i) {
      const std::string path = "layer." + std::to_string(i) + ".attention.memory";
      auto& d = data_.decorations[path]["prefix"];
      d.numbers = tokens;
      d.form = {{"encoder", "none"}, {"gate", "none"}};
      data_.tensors[path + ".prefix.keys"] = columns_of(m, 2 * i * width, width);
      data_.tensors[path + ".prefix.values"] = columns_of(m, (2 * i + 1) * width, width);
    }
  }

  void finish_rows(const std::string& path, const stored_matrix& rows) {
    const std::vector<index_t>* entries = nullptr;
    const std::string module = module_of(path);
    for (const auto& [name, indices] : config_.token_rows)
      if (name.empty() || module == name || module.ends_with("." + name))
        entries = &indices;
    if (!entries || static_cast<index_t>(entries->size()) != rows.rows)
      throw checkpoint_error(data_.values + ": " + module + ": expected the numbers of " +
                             std::to_string(rows.rows) + " tokens in adapter_config.json, found " +
                             std::to_string(entries ? entries->size() : 0));
    data_.rows[path + ".weight"] = {*entries, rows};
    data_.departed.insert(path + ".weight");
  }

  // What `target_modules` names and what the file has must be the same modules.
  void check_targets() const {
    if (is_prompt_learning(config_) || config_.type == "TRAINABLE_TOKENS")
      return;
    std::vector<std::string> lacking, extra;
    for (const auto& [path, module] : names_.modules) {
      const auto target = is_target(config_, module, layer_of(path));
      const bool saved = data_.tensors.contains(path + ".weight");  // of modules_to_save
      if (!target || saved)
        continue;
      const bool there = data_.decorations.contains(path);
      if (*target && !there && can_be_target(path))
        lacking.push_back(module);
      if (!*target && there)
        extra.push_back(module);
    }
    if (!lacking.empty())
      throw checkpoint_error(data_.values + ": expected updates of what \"target_modules\" names in " +
                             config_.file + ", found none for " + listed_names(lacking));
    if (!extra.empty())
      throw checkpoint_error(data_.values + ": expected updates of what \"target_modules\" names in " +
                             config_.file + " alone, found such for " + listed_names(extra));
  }
  // What `modules_to_save` and `bias` name must be there, as far as the model has it: PEFT puts the heads
  // of all models into the list, and the head here may be another task's.
  void check_saved() const {
    const bool same_head = names_.task && (config_.task_type.empty() ||
                                           config_.task_type == task_type_of(*names_.task));
    std::vector<std::string> lacking;
    for (const auto& [path, module] : names_.modules) {
      if ((path.starts_with("head.") && !same_head) || data_.tensors.contains(path + ".weight"))
        continue;
      const std::string steps = "." + module + ".";
      if (std::any_of(config_.saved.begin(), config_.saved.end(), [&](const std::string& name) {
            return steps.find("." + name + ".") != std::string::npos;
          }))
        lacking.push_back(module);
    }
    if (!lacking.empty())
      throw checkpoint_error(data_.values + ": expected what \"modules_to_save\" names in " +
                             config_.file + ", found none of " + listed_names(lacking));
    if (config_.bias != "none" &&
        std::none_of(data_.tensors.begin(), data_.tensors.end(), [&](const auto& t) {
          return t.first.ends_with(".bias") && data_.departed.contains(t.first);
        }))
      throw checkpoint_error(data_.values + ": expected biases as \"bias\" says in " + config_.file +
                             ", found none");
  }
  static bool can_be_target(const std::string& path) {
    return !path.ends_with("norm") && !path.ends_with("join.norm");
  }

  const module_names& names_;
  peft_config config_;
  adapter_data data_;
  std::map<std::string, piece_list> pieces_;  // by path
  std::map<std::string, stored_matrix> token_rows_;
  std::optional<stored_matrix> prompt_;
  std::vector<std::string> unplaced_;
};

}  // namespace detail

GRAFT_PLAIN adapter_data read_peft(const std::string& folder, const module_names& names) {
  return detail::peft_reader(folder, names).read();
}

GRAFT_PLAIN adapter_data read_peft(const std::string& folder, const bert_config& config) {
  return read_peft(folder, hugging_face_names(config));
}

}  // namespace graft

#endif
