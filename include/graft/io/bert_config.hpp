// SPDX-License-Identifier: MIT
// The config.json of BERT-like models, both ways.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/model/bert.hpp>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace graft {

namespace detail {

// What a config.json calls a family.
constexpr std::string_view type_name(bert_family family) {
  switch (family) {
    case bert_family::bert:
      return "bert";
    case bert_family::roberta:
      return "roberta";
    case bert_family::distilbert:
      return "distilbert";
    case bert_family::roberta_prelayernorm:
      return "roberta-prelayernorm";
  }
  return "";
}

}  // namespace detail

// The labels a config.json names, by their numbers; empty when it names none.
GRAFT_PLAIN std::vector<std::string> read_labels(const nlohmann::json& json, const std::string& file);

// What the model whose config.json this is was asked; nothing where it does not say so, as a model
// without a head.
GRAFT_PLAIN std::optional<task_kind> read_task(const nlohmann::json& json, const std::string& file);

// The configuration in a parsed config.json, for a task, or without one for the task that it names;
// errors call it `file`. Throws checkpoint_error for another kind of model and for options that graft
// does not compute.
GRAFT_PLAIN bert_config read_bert_config(const nlohmann::json& json, const std::string& file,
                                         std::optional<task_kind> task = {});

// Throws checkpoint_error unless the layers of the configuration's family normalise in the order
// that a model type has.
GRAFT_PLAIN void expect_order(norm_order expected, const bert_config& c, const std::string& file);

// What Hugging Face calls the class of a model: with a head for config.task, or bare.
GRAFT_PLAIN std::string architecture_of(const bert_config& c, bool with_head);

// The config.json of a BERT with these sizes; `architecture` as in "BertForMaskedLM".
GRAFT_PLAIN nlohmann::json write_bert_config(const bert_config& c, const std::string& architecture,
                                             const std::vector<std::string>& labels = {});

}  // namespace graft

#if GRAFT_BODIES

#include <graft/io/json.hpp>

#include <nlohmann/json.hpp>

namespace graft {

namespace detail {

inline bert_family family_named(const std::string& type, const std::string& file) {
  if (type == "bert")
    return bert_family::bert;
  if (type == "roberta" || type == "xlm-roberta" || type == "camembert")
    return bert_family::roberta;
  if (type == "distilbert")
    return bert_family::distilbert;
  if (type == "roberta-prelayernorm")
    return bert_family::roberta_prelayernorm;
  throw checkpoint_error(file +
                         ": \"model_type\": expected bert, roberta, distilbert or "
                         "roberta-prelayernorm, found " +
                         in_quotes(type));
}

inline index_t positive(const nlohmann::json& config, const char* key, const std::string& file) {
  const auto n = get<std::int32_t>(config, key, file);
  if (n < 1)
    throw checkpoint_error(file + ": \"" + key + "\": expected at least 1, found " +
                           std::to_string(n));
  return n;
}

// What a model has an object for each of, before any tensor is looked for.
inline index_t layer_count(const nlohmann::json& config, const char* key, const std::string& file) {
  constexpr index_t most = 1000;
  const index_t n = positive(config, key, file);
  if (n > most)
    throw checkpoint_error(file + ": \"" + key + "\": expected at most " + std::to_string(most) +
                           ", found " + std::to_string(n));
  return n;
}

inline std::int32_t not_negative(const nlohmann::json& config, const char* key,
                                 const std::string& file, std::int32_t fallback) {
  const auto n = get<std::int32_t>(config, key, file, fallback);
  if (n < 0)
    throw checkpoint_error(file + ": \"" + key + "\": expected at least 0, found " +
                           std::to_string(n));
  return n;
}

inline double share(const nlohmann::json& config, const char* key, const std::string& file,
                    double fallback) {
  const double p = get<double>(config, key, file, fallback);
  if (!(p >= 0 && p < 1))
    throw checkpoint_error(file + ": \"" + key + "\": expected at least 0 and below 1, found " +
                           std::to_string(p));
  return p;
}

inline activation activation_in(const nlohmann::json& config, const char* key,
                                const std::string& file) {
  const auto name = get<std::string>(config, key, file, "gelu");
  try {
    return activation_named(name);
  } catch (const error&) {
    throw checkpoint_error(file + ": \"" + key +
                           "\": expected relu, gelu, gelu_new, silu, tanh or identity, found " +
                           in_quotes(name));
  }
}

}  // namespace detail

GRAFT_PLAIN std::vector<std::string> read_labels(const nlohmann::json& json, const std::string& file) {
  std::vector<std::string> labels;
  const auto names = get<std::optional<std::map<std::string, std::string>>>(json, "id2label", file);
  if (names) {
    for (std::size_t i = 0; i < names->size(); ++i) {
      const auto found = names->find(std::to_string(i));
      if (found == names->end())
        throw checkpoint_error(file + ": \"id2label\": expected the keys \"0\" to \"" +
                               std::to_string(names->size() - 1) + "\", found no \"" +
                               std::to_string(i) + "\"");
      labels.push_back(found->second);
    }
  } else if (const auto n = get<std::optional<std::int32_t>>(json, "num_labels", file)) {
    constexpr std::int32_t most = 100'000;
    if (*n < 0 || *n > most)
      throw checkpoint_error(file + ": \"num_labels\": expected 0 to " + std::to_string(most) +
                             ", found " + std::to_string(*n));
    labels.reserve(static_cast<std::size_t>(*n));
    for (std::int32_t i = 0; i < *n; ++i)
      labels.push_back("LABEL_" + std::to_string(i));
  }
  return labels;
}

GRAFT_PLAIN std::optional<task_kind> read_task(const nlohmann::json& json, const std::string& file) {
  for (const auto& name : get<std::vector<std::string>>(json, "architectures", file, {})) {
    if (name.ends_with("ForTokenClassification"))
      return task_kind::token_classification;
    if (name.ends_with("ForQuestionAnswering"))
      return task_kind::question_answering;
    if (name.ends_with("ForSequenceClassification"))
      return get<std::optional<std::string>>(json, "problem_type", file) == "regression" ||
                     read_labels(json, file).size() == 1
                 ? task_kind::regression
                 : task_kind::classification;
  }
  return std::nullopt;
}

GRAFT_PLAIN bert_config read_bert_config(const nlohmann::json& json, const std::string& file,
                                         std::optional<task_kind> task) {
  bert_config c;
  c.task = task ? *task : read_task(json, file).value_or(task_kind::classification);
  const bool asks_for_answers = c.task == task_kind::question_answering;
  c.family = detail::family_named(get<std::string>(json, "model_type", file, "bert"), file);
  const bool distil = c.family == bert_family::distilbert;
  c.vocabulary = detail::positive(json, "vocab_size", file);
  c.positions = detail::positive(json, "max_position_embeddings", file);
  c.width = detail::positive(json, distil ? "dim" : "hidden_size", file);
  c.layers = detail::layer_count(json, distil ? "n_layers" : "num_hidden_layers", file);
  c.heads = detail::positive(json, distil ? "n_heads" : "num_attention_heads", file);
  c.inner = detail::positive(json, distil ? "hidden_dim" : "intermediate_size", file);
  if (c.width % c.heads != 0)
    throw checkpoint_error(file + ": expected a number of attention heads that divides the width " +
                           std::to_string(c.width) + ", found " + std::to_string(c.heads));
  c.activation = detail::activation_in(json, distil ? "activation" : "hidden_act", file);
  c.hidden_dropout = detail::share(json, distil ? "dropout" : "hidden_dropout_prob", file, 0.1);
  c.attention_dropout =
      detail::share(json, distil ? "attention_dropout" : "attention_probs_dropout_prob", file, 0.1);
  c.padding = detail::not_negative(json, "pad_token_id", file, like_roberta(c.family) ? 1 : 0);
  if (distil) {
    c.token_types = 0;
    c.head_dropout = c.task == task_kind::token_classification ? c.hidden_dropout
                     : asks_for_answers ? detail::share(json, "qa_dropout", file, 0.1)
                                        : detail::share(json, "seq_classif_dropout", file, 0.2);
  } else {
    c.token_types = detail::not_negative(json, "type_vocab_size", file, 2);
    c.epsilon = get<double>(json, "layer_norm_eps", file, 1e-12);
    if (!(c.epsilon > 0))
      throw checkpoint_error(file + ": \"layer_norm_eps\": expected more than 0, found " +
                             std::to_string(c.epsilon));
    c.head_dropout = asks_for_answers
                         ? 0
                         : detail::share(json, "classifier_dropout", file, c.hidden_dropout);
    const auto kind = get<std::string>(json, "position_embedding_type", file, "absolute");
    if (kind != "absolute")
      throw checkpoint_error(file + ": \"position_embedding_type\": expected \"absolute\", found " +
                             detail::in_quotes(kind));
    if (get<bool>(json, "is_decoder", file, false))
      throw checkpoint_error(file + ": \"is_decoder\": expected false, found true");
  }
  if (c.padding >= c.vocabulary)
    throw checkpoint_error(file + ": \"pad_token_id\": expected one below \"vocab_size\" (" +
                           std::to_string(c.vocabulary) + "), found " + std::to_string(c.padding));
  if (like_roberta(c.family))
    c.first_position = c.padding + 1;
  if (c.longest() < 1)
    throw checkpoint_error(file + ": \"max_position_embeddings\": expected more than " +
                           std::to_string(c.first_position) + ", found " +
                           std::to_string(c.positions));
  return c;
}

GRAFT_PLAIN void expect_order(norm_order expected, const bert_config& c, const std::string& file) {
  if (order_of(c.family) == expected)
    return;
  const bool after = expected == norm_order::after;
  throw checkpoint_error(
      file + ": \"model_type\": expected " +
      (after ? "bert, roberta or distilbert, whose norms come after the sub-layers"
             : "roberta-prelayernorm, whose norms come before the sub-layers") +
      ", found " + detail::in_quotes(std::string(detail::type_name(c.family))) +
      (after ? " (norm_order::before as last argument of the model's type loads it)"
             : " (the model's type without norm_order::before loads it)"));
}

GRAFT_PLAIN std::string architecture_of(const bert_config& c, bool with_head) {
  std::string name;
  switch (c.family) {
    case bert_family::bert: name = "Bert"; break;
    case bert_family::roberta: name = "Roberta"; break;
    case bert_family::distilbert: name = "DistilBert"; break;
    case bert_family::roberta_prelayernorm: name = "RobertaPreLayerNorm"; break;
  }
  if (!with_head)
    return name + "Model";
  switch (c.task) {
    case task_kind::classification:
    case task_kind::regression: return name + "ForSequenceClassification";
    case task_kind::token_classification: return name + "ForTokenClassification";
    case task_kind::question_answering: return name + "ForQuestionAnswering";
  }
  return name;
}

GRAFT_PLAIN nlohmann::json write_bert_config(const bert_config& c, const std::string& architecture,
                                             const std::vector<std::string>& labels) {
  nlohmann::json json{{"architectures", {architecture}}, {"vocab_size", c.vocabulary},
                      {"model_type", detail::type_name(c.family)},
                      {"max_position_embeddings", c.positions}, {"pad_token_id", c.padding}};
  const std::string f(name_of(c.activation));
  if (c.family == bert_family::distilbert) {
    json.update({{"dim", c.width}, {"n_layers", c.layers},
                 {"n_heads", c.heads}, {"hidden_dim", c.inner}, {"activation", f},
                 {"dropout", c.hidden_dropout}, {"attention_dropout", c.attention_dropout},
                 {c.task == task_kind::question_answering ? "qa_dropout" : "seq_classif_dropout",
                  c.head_dropout},
                 {"sinusoidal_pos_embds", false}});
  } else {
    json.update({{"hidden_size", c.width}, {"num_hidden_layers", c.layers},
                 {"num_attention_heads", c.heads}, {"intermediate_size", c.inner},
                 {"hidden_act", f}, {"hidden_dropout_prob", c.hidden_dropout},
                 {"attention_probs_dropout_prob", c.attention_dropout},
                 {"classifier_dropout", c.head_dropout}, {"type_vocab_size", c.token_types},
                 {"layer_norm_eps", c.epsilon}});
  }
  if (c.task == task_kind::regression)
    json["problem_type"] = "regression";
  if (!labels.empty()) {
    nlohmann::json id2label = nlohmann::json::object(), label2id = nlohmann::json::object();
    for (std::size_t i = 0; i < labels.size(); ++i) {
      id2label[std::to_string(i)] = labels[i];
      label2id[labels[i]] = i;
    }
    json["id2label"] = id2label;
    json["label2id"] = label2id;
  }
  return json;
}

}  // namespace graft

#endif
