// SPDX-License-Identifier: MIT
// PEFT's adapter_config.json, as far as it says what an adapter computes.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/pattern_limits.hpp>
#include <graft/model/task_kind.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// | member         | meaning                                                                    |
// | type           | peft_type: LORA, IA3, ADALORA, VERA, PROMPT_TUNING, P_TUNING, PREFIX_TUNING, |
// |                | TRAINABLE_TOKENS                                                           |
// | targets        | ends of module names; none where `pattern` says                            |
// | pattern        | a regular expression for whole module names, or "all-linear"               |
// | excluded, excluded_pattern | the same of what is no target though those say so              |
// | only_layers    | numbers of layers, where not all are targets                               |
// | rank, alpha    | of what the patterns do not name                                           |
// | bias           | "none", or whose biases travel along: "all", "lora_only"                   |
// | saved          | modules_to_save                                                            |
// | token_rows     | trainable_token_indices, by the table's module ("": the word table)        |
// | ignored        | keys that say nothing of what is computed, and that no PEFT of ours knows  |
struct peft_config {
  std::string file, type, base, task_type;
  std::optional<std::vector<std::string>> targets;
  std::vector<std::string> excluded;
  std::string pattern, excluded_pattern;
  std::optional<std::vector<index_t>> only_layers;
  int rank = 8;
  double alpha = 8, dropout = 0;
  bool over_root = false, dora = false, bias_of_update = false;
  std::string bias = "none";
  std::map<std::string, double> ranks, alphas;
  std::vector<std::string> saved;
  std::map<std::string, std::vector<index_t>> token_rows;
  int virtual_tokens = 0;
  std::vector<std::string> ignored;
};

// PEFT's word for a task, and the task of its word: nothing for one of no head.
constexpr std::string_view task_type_of(task_kind task) {
  switch (task) {
    case task_kind::classification:
    case task_kind::regression: return "SEQ_CLS";
    case task_kind::token_classification: return "TOKEN_CLS";
    case task_kind::question_answering: return "QUESTION_ANS";
  }
  return "";
}

constexpr std::optional<task_kind> task_of_type(std::string_view type) {
  for (const task_kind task : {task_kind::classification, task_kind::token_classification,
                               task_kind::question_answering})
    if (task_type_of(task) == type)
      return task;
  return std::nullopt;
}

namespace detail {

// The value that a pattern of PEFT's gives to a module: of the first key that is the end of its name.
GRAFT_PLAIN std::optional<double> value_for(const std::map<std::string, double>& pattern,
                                            const std::string& module, const std::string& file);

}  // namespace detail

// Throws checkpoint_error for a method that graft does not have, and for options that would change what
// is computed and that it does not know.
GRAFT_PLAIN peft_config read_peft_config(const std::string& path);

// Does `target_modules` name this module, which stands in that layer (none: in no layer)? Nothing where
// it says "all-linear", which needs the module's class.
GRAFT_PLAIN std::optional<bool> is_target(const peft_config& c, const std::string& module,
                                          std::optional<index_t> layer);

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

#include <regex>

namespace graft {

namespace detail {

// Does a value say something? null, false, 0, "" and empty lists and objects do not.
inline bool says_something(const nlohmann::json& value) {
  return !(value.is_null() || value == false || value == 0 || value == "" ||
           ((value.is_array() || value.is_object()) && value.empty()));
}

// Keys that change what is computed, with the one value that is as if they were not there.
inline void refuse_unknown_arithmetic(const nlohmann::json& json, const std::string& file) {
  for (const char* key :
       {"layer_replication", "target_parameters", "alora_invocation_tokens", "use_qalora",
        "use_bdlora", "kasa_config", "arrow_config", "monteclora_config", "velora_config"})
    if (json.contains(key) && says_something(json.at(key)))
      throw checkpoint_error(file + ": \"" + key +
                             "\": expected nothing, since graft does not compute it, found " +
                             described(json.at(key)));
  const auto init = json.find("init_lora_weights");
  if (init != json.end() && init->is_string()) {
    const auto how = init->get<std::string>();
    for (const char* harmless : {"gaussian", "eva", "orthogonal", "true", "false"})
      if (how == harmless)
        return;
    throw checkpoint_error(
        file + ": \"init_lora_weights\": expected one that leaves the base as it was, found " +
        in_quotes(how) +
        " (PEFT's save_pretrained converts such an adapter: path_initial_model_for_weight_conversion)");
  }
}

// Keys that PEFT writes and that say nothing of what is computed, or that are read above.
inline bool is_known_key(std::string_view key) {
  static constexpr auto known = std::to_array<std::string_view>(
      {"peft_type", "base_model_name_or_path", "task_type", "target_modules", "exclude_modules", "r",
       "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "lora_bias", "bias", "rank_pattern",
       "alpha_pattern", "modules_to_save", "trainable_token_indices", "token_indices",
       "num_virtual_tokens", "save_projection", "vera_dropout", "d_initial", "projection_prng_key",
       "feedforward_modules", "fan_in_fan_out", "inference_mode", "auto_mapping", "revision",
       "peft_version", "init_lora_weights", "init_weights", "init_ia3_weights", "loftq_config",
       "eva_config", "corda_config", "lora_ga_config", "megatron_config", "megatron_core",
       "layers_pattern", "layers_to_transform", "layer_replication", "target_parameters",
       "alora_invocation_tokens", "use_qalora", "qalora_group_size", "use_bdlora", "kasa_config",
       "arrow_config", "monteclora_config", "velora_config", "ensure_weight_tying",
       "runtime_config", "token_dim", "num_transformer_submodules", "num_attention_heads",
       "num_layers", "prompt_tuning_init", "prompt_tuning_init_text", "prompt_tuning_init_state_dict_path",
       "tokenizer_name_or_path", "tokenizer_kwargs", "encoder_reparameterization_type",
       "encoder_hidden_size", "encoder_num_layers", "encoder_dropout", "prefix_projection", "target_r",
       "init_r", "tinit", "tfinal", "deltaT", "beta1", "beta2", "orth_reg_weight", "total_step",
       "inference_mode", "enable_lora", "merge_weights"});
  return std::find(known.begin(), known.end(), key) != known.end();
}

// A list of names, or one that is a regular expression.
inline void read_targets(const nlohmann::json& json, const char* key, const std::string& file,
                         std::optional<std::vector<std::string>>& names, std::string& pattern) {
  const auto found = json.find(key);
  if (found == json.end() || found->is_null())
    return;
  if (found->is_string())
    pattern = found->get<std::string>();
  else
    names = get<std::vector<std::string>>(json, key, file);
}

// A regular expression of Python's re that must match a whole text; in the one form of std::regex that
// takes time linear in the text. Throws checkpoint_error for one that cannot be read.
inline std::regex whole_match(const std::string& pattern, const std::string& place) {
  expect_modest_pattern(pattern, place);
  auto how = std::regex::ECMAScript | std::regex::nosubs;
#ifdef __GLIBCXX__
  how |= std::regex_constants::__polynomial;
#endif
  try {
    return std::regex(pattern, how);
  } catch (const std::regex_error& e) {
    throw checkpoint_error(place + ": expected a regular expression, found " + in_quotes(pattern) +
                           " (" + e.what() + ")");
  }
}

GRAFT_PLAIN std::optional<double> value_for(const std::map<std::string, double>& pattern,
                                            const std::string& module, const std::string& file) {
  for (const auto& [key, value] : pattern)
    if (key == module || module.ends_with("." + key) ||
        (key.find_first_of("^$*+?[](){}|\\") != std::string::npos &&
         std::regex_match(module, whole_match("(.*\\.)?(" + key + ")", file + ": " + in_quotes(key)))))
      return value;
  return std::nullopt;
}

}  // namespace detail

GRAFT_PLAIN peft_config read_peft_config(const std::string& path) {
  const nlohmann::json json = read_json(path);
  peft_config c;
  c.file = path;
  c.type = get<std::string>(json, "peft_type", path);
  constexpr std::array<std::string_view, 8> types{"LORA",          "IA3",      "ADALORA",
                                                  "VERA",          "PROMPT_TUNING", "P_TUNING",
                                                  "PREFIX_TUNING", "TRAINABLE_TOKENS"};
  if (std::find(types.begin(), types.end(), c.type) == types.end())
    throw checkpoint_error(path +
                           ": \"peft_type\": expected LORA, IA3, ADALORA, VERA, PROMPT_TUNING, "
                           "P_TUNING, PREFIX_TUNING or TRAINABLE_TOKENS, found " +
                           detail::in_quotes(c.type));
  detail::refuse_unknown_arithmetic(json, path);
  c.base = get<std::string>(json, "base_model_name_or_path", path, "");
  c.task_type = get<std::string>(json, "task_type", path, "");
  detail::read_targets(json, "target_modules", path, c.targets, c.pattern);
  std::optional<std::vector<std::string>> excluded;
  detail::read_targets(json, "exclude_modules", path, excluded, c.excluded_pattern);
  c.excluded = excluded.value_or(std::vector<std::string>{});
  if (const auto found = json.find("layers_to_transform");
      found != json.end() && found->is_number_integer())
    c.only_layers = std::vector<index_t>{get<index_t>(json, "layers_to_transform", path)};
  else
    c.only_layers = get<std::optional<std::vector<index_t>>>(json, "layers_to_transform", path);
  const bool vera = c.type == "VERA", adalora = c.type == "ADALORA";
  c.rank = get<std::int32_t>(json, adalora ? "init_r" : "r", path, vera ? 256 : adalora ? 12 : 8);
  if (c.rank < 1)
    throw checkpoint_error(path + ": \"" + (adalora ? "init_r" : "r") +
                           "\": expected at least 1, found " + std::to_string(c.rank));
  c.alpha = get<double>(json, "lora_alpha", path, 8);
  c.dropout = get<double>(json, vera ? "vera_dropout" : "lora_dropout", path, 0);
  if (!(c.dropout >= 0 && c.dropout < 1))
    throw checkpoint_error(path + ": \"" + (vera ? "vera_dropout" : "lora_dropout") +
                           "\": expected at least 0 and below 1, found " + std::to_string(c.dropout));
  c.over_root = get<bool>(json, "use_rslora", path, false);
  c.dora = get<bool>(json, "use_dora", path, false);
  c.bias_of_update = get<bool>(json, "lora_bias", path, false);
  c.bias = get<std::string>(json, "bias", path, "none");
  if (!adalora)  // whose pattern are masks, already applied
    for (const auto& [key, rank] :
         get<std::map<std::string, std::int32_t>>(json, "rank_pattern", path, {}))
      c.ranks.emplace(key, rank);
  c.alphas = get<std::map<std::string, double>>(json, "alpha_pattern", path, {});
  c.saved = get<std::vector<std::string>>(json, "modules_to_save", path, {});
  c.virtual_tokens = get<std::int32_t>(json, "num_virtual_tokens", path, 0);
  if (const int parts = get<std::int32_t>(json, "num_transformer_submodules", path, 1); parts != 1)
    throw checkpoint_error(path + ": \"num_transformer_submodules\": expected 1, found " +
                           std::to_string(parts));
  const char* rows = c.type == "TRAINABLE_TOKENS" ? "token_indices" : "trainable_token_indices";
  if (const auto found = json.find(rows); found != json.end() && detail::says_something(*found)) {
    if (found->is_array())
      c.token_rows[""] = get<std::vector<index_t>>(json, rows, path);
    else
      c.token_rows = get<std::map<std::string, std::vector<index_t>>>(json, rows, path);
  }
  for (const auto& [key, value] : json.items())
    if (!detail::is_known_key(key))
      c.ignored.push_back(key);
  return c;
}

GRAFT_PLAIN std::optional<bool> is_target(const peft_config& c, const std::string& module,
                                          std::optional<index_t> layer) {
  const auto ends_as = [&](const std::vector<std::string>& names) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& name) {
      return module == name || module.ends_with("." + name);
    });
  };
  if (c.pattern == "all-linear" || (!c.targets && c.pattern.empty()))
    return std::nullopt;
  if (ends_as(c.excluded) ||
      (!c.excluded_pattern.empty() &&
       std::regex_match(module, detail::whole_match(c.excluded_pattern,
                                                    c.file + ": \"exclude_modules\""))))
    return false;
  if (c.only_layers && (!layer || std::find(c.only_layers->begin(), c.only_layers->end(), *layer) ==
                                      c.only_layers->end()))
    return false;
  if (c.targets)
    return ends_as(*c.targets);
  return std::regex_match(module, detail::whole_match(c.pattern, c.file + ": \"target_modules\""));
}

}  // namespace graft

#endif
