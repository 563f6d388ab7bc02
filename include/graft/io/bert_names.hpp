// SPDX-License-Identifier: MIT
// What Hugging Face checkpoints call the parameters of a BERT-like model.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/model/bert.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

using name_pair = std::pair<std::string_view, std::string_view>;

// Of a layer's parts, after "layer.N.".
inline constexpr std::array<name_pair, 8> bert_layer_names{{
    {"attention.query", "attention.self.query"},
    {"attention.key", "attention.self.key"},
    {"attention.value", "attention.self.value"},
    {"attention.output", "attention.output.dense"},
    {"attention_join.norm", "attention.output.LayerNorm"},
    {"feed_forward.input", "intermediate.dense"},
    {"feed_forward.output", "output.dense"},
    {"feed_forward_join.norm", "output.LayerNorm"},
}};

inline constexpr std::array<name_pair, 8> distilbert_layer_names{{
    {"attention.query", "attention.q_lin"},
    {"attention.key", "attention.k_lin"},
    {"attention.value", "attention.v_lin"},
    {"attention.output", "attention.out_lin"},
    {"attention_join.norm", "sa_layer_norm"},
    {"feed_forward.input", "ffn.lin1"},
    {"feed_forward.output", "ffn.lin2"},
    {"feed_forward_join.norm", "output_layer_norm"},
}};

inline constexpr std::array<name_pair, 8> roberta_prelayernorm_layer_names{{
    {"attention.norm", "attention.LayerNorm"},
    {"attention.query", "attention.self.query"},
    {"attention.key", "attention.self.key"},
    {"attention.value", "attention.self.value"},
    {"attention.output", "attention.output.dense"},
    {"feed_forward.norm", "intermediate.LayerNorm"},
    {"feed_forward.input", "intermediate.dense"},
    {"feed_forward.output", "output.dense"},
}};

// Of the parts around the layers: BERT's pooler, and the last norm of those with
// norm_order::before.
inline constexpr std::array<name_pair, 6> bert_body_names{{
    {"embeddings.word", "embeddings.word_embeddings"},
    {"embeddings.position", "embeddings.position_embeddings"},
    {"embeddings.token_type", "embeddings.token_type_embeddings"},
    {"embeddings.norm", "embeddings.LayerNorm"},
    {"pooler", "pooler.dense"},
    {"encoder_norm", "LayerNorm"},
}};

// Of what stands on the encoder; these names have no prefix.
inline constexpr std::array<name_pair, 4> bert_head_names{{
    {"head.classifier", "classifier"},
    {"mlm.dense", "cls.predictions.transform.dense"},
    {"mlm.norm", "cls.predictions.transform.LayerNorm"},
    {"mlm.decoder", "cls.predictions"},
}};

inline constexpr std::array<name_pair, 5> roberta_head_names{{
    {"head.dense", "classifier.dense"},
    {"head.classifier", "classifier.out_proj"},
    {"mlm.dense", "lm_head.dense"},
    {"mlm.norm", "lm_head.layer_norm"},
    {"mlm.decoder", "lm_head"},
}};

inline constexpr std::array<name_pair, 5> distilbert_head_names{{
    {"head.dense", "pre_classifier"},
    {"head.classifier", "classifier"},
    {"mlm.dense", "vocab_transform"},
    {"mlm.norm", "vocab_layer_norm"},
    {"mlm.decoder", "vocab_projector"},
}};

template <std::size_t N>
std::optional<std::string_view> looked_up(const std::array<name_pair, N>& table,
                                          std::string_view name) {
  for (const auto& [ours, theirs] : table)
    if (ours == name)
      return theirs;
  return std::nullopt;
}

// … and the other way.
template <std::size_t N>
std::optional<std::string_view> looked_back(const std::array<name_pair, N>& table,
                                            std::string_view name) {
  for (const auto& [ours, theirs] : table)
    if (theirs == name)
      return ours;
  return std::nullopt;
}

// f(table) for the table of a family's layers.
template <class F>
auto with_layer_names(bert_family family, const F& f) {
  switch (family) {
    case bert_family::distilbert:
      return f(distilbert_layer_names);
    case bert_family::roberta_prelayernorm:
      return f(roberta_prelayernorm_layer_names);
    case bert_family::bert:
    case bert_family::roberta:
      break;
  }
  return f(bert_layer_names);
}

// … and of its heads.
template <class F>
auto with_head_names(bert_family family, const F& f) {
  switch (family) {
    case bert_family::roberta:
    case bert_family::roberta_prelayernorm:
      return f(roberta_head_names);
    case bert_family::distilbert:
      return f(distilbert_head_names);
    case bert_family::bert:
      break;
  }
  return f(bert_head_names);
}

// Of DistilBERT's layers and the others'.
constexpr std::string_view layers_name(bert_family family) {
  return family == bert_family::distilbert ? "transformer.layer." : "encoder.layer.";
}

}  // namespace detail

constexpr std::string_view prefix_of(bert_family family) {
  switch (family) {
    case bert_family::bert:
      return "bert.";
    case bert_family::roberta:
      return "roberta.";
    case bert_family::distilbert:
      return "distilbert.";
    case bert_family::roberta_prelayernorm:
      return "roberta_prelayernorm.";
  }
  return "";
}

// The name that a checkpoint of a model with a head for `task` gives to the parameter at `path`, or
// nothing for a parameter that is no part of the pretrained model (an adapter's).
GRAFT_PLAIN std::optional<std::string> checkpoint_name(bert_family family, std::string_view path,
                                                       task_kind task = task_kind::classification);

// The path of the layer that a checkpoint calls by that name, with or without the model's prefix:
// "bert.encoder.layer.0.attention.self.query" is "layer.0.attention.query". Nothing for a name that is
// no layer's.
GRAFT_PLAIN std::optional<std::string> path_of_module(bert_family family, std::string_view name);

// … and of the parameter of that name ("….query.weight").
GRAFT_PLAIN std::optional<std::string> path_of_checkpoint_name(bert_family family,
                                                               std::string_view name);

// The names under which a file may hold the parameter of that name: with and without the model's
// prefix, norms also as gamma and beta.
GRAFT_PLAIN std::vector<std::string> checkpoint_spellings(bert_family family, const std::string& name);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

inline std::optional<std::string_view> layer_name(bert_family family, std::string_view part) {
  return with_layer_names(family, [&](const auto& table) { return looked_up(table, part); });
}

inline std::optional<std::string_view> head_name(bert_family family, std::string_view part) {
  return with_head_names(family, [&](const auto& table) { return looked_up(table, part); });
}

}  // namespace detail

GRAFT_PLAIN std::optional<std::string> checkpoint_name(bert_family family, std::string_view path,
                                                       task_kind task) {
  const std::size_t dot = path.rfind('.');
  if (dot == std::string_view::npos)
    return std::nullopt;
  const std::string_view part = path.substr(0, dot);
  const std::string ending(path.substr(dot));  // ".weight" or ".bias"
  const std::string prefix(prefix_of(family));

  if (part.starts_with("layer.")) {
    const std::size_t end = part.find('.', 6);
    if (end == std::string_view::npos)
      return std::nullopt;
    const std::string number(part.substr(6, end - 6));
    const std::string_view rest = part.substr(end + 1);
    const auto name = detail::layer_name(family, rest);
    if (!name)
      return std::nullopt;
    return prefix + std::string(detail::layers_name(family)) + number + "." + std::string(*name) +
           ending;
  }
  if (const auto name = detail::looked_up(detail::bert_body_names, part))
    return prefix + std::string(*name) + ending;
  if (per_token(task) && part == "head.classifier")
    return (task == task_kind::question_answering ? "qa_outputs" : "classifier") + ending;
  if (const auto head = detail::head_name(family, part))
    return std::string(*head) + ending;
  // One of several heads, head.<number>.…; no library but ours has them.
  constexpr std::string_view heads = "head.";
  if (part.starts_with(heads)) {
    const std::size_t end = part.find_first_not_of("0123456789", heads.size());
    if (end != heads.size() && end != std::string_view::npos && part[end] == '.')
      if (const auto head = detail::head_name(family, "head" + std::string(part.substr(end))))
        return "task_heads." + std::string(part.substr(heads.size(), end - heads.size())) + "." +
               std::string(*head) + ending;
  }
  return std::nullopt;
}

GRAFT_PLAIN std::optional<std::string> path_of_module(bert_family family, std::string_view name) {
  if (name.starts_with(prefix_of(family)))
    name.remove_prefix(prefix_of(family).size());
  if (const std::string_view layers = detail::layers_name(family); name.starts_with(layers)) {
    const std::string_view rest = name.substr(layers.size());
    const std::size_t end = rest.find_first_not_of("0123456789");
    if (end == 0 || end == std::string_view::npos || rest[end] != '.' ||
        (rest[0] == '0' && end > 1))
      return std::nullopt;
    const auto part = detail::with_layer_names(family, [&](const auto& table) {
      return detail::looked_back(table, rest.substr(end + 1));
    });
    if (!part)
      return std::nullopt;
    return "layer." + std::string(rest.substr(0, end)) + "." + std::string(*part);
  }
  if (name == "qa_outputs")
    return "head.classifier";
  for (const auto& found :
       {detail::looked_back(detail::bert_body_names, name),
        detail::with_head_names(family,
                                [&](const auto& table) { return detail::looked_back(table, name); }),
        name == "classifier" ? std::optional<std::string_view>("head.classifier") : std::nullopt})
    if (found)
      return std::string(*found);
  return std::nullopt;
}

GRAFT_PLAIN std::optional<std::string> path_of_checkpoint_name(bert_family family,
                                                               std::string_view name) {
  const std::size_t dot = name.rfind('.');
  if (dot == std::string_view::npos ||
      (name.substr(dot) != ".weight" && name.substr(dot) != ".bias"))
    return std::nullopt;
  const auto path = path_of_module(family, name.substr(0, dot));
  if (!path)
    return std::nullopt;
  return *path + std::string(name.substr(dot));
}

GRAFT_PLAIN std::vector<std::string> checkpoint_spellings(bert_family family, const std::string& name) {
  std::vector<std::string> all{name};
  const std::string_view prefix = prefix_of(family);
  if (name.starts_with(prefix))
    all.push_back(name.substr(prefix.size()));
  const std::size_t spelled = all.size();
  for (std::size_t i = 0; i < spelled; ++i) {
    const std::string n = all[i];  // a copy: the list grows
    for (const auto& [now, once] : {detail::name_pair{"LayerNorm.weight", "LayerNorm.gamma"},
                                    detail::name_pair{"LayerNorm.bias", "LayerNorm.beta"}})
      if (n.ends_with(now))
        all.push_back(n.substr(0, n.size() - now.size()) + std::string(once));
  }
  return all;
}

}  // namespace graft

#endif
