// SPDX-License-Identifier: MIT
// What another library calls the layers of a model: its module tree, as adapter files name it.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/io/bert_names.hpp>
#include <graft/model/bert.hpp>

#include <array>
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// | member   | meaning                                                                        |
// | modules  | of every layer with a weight: our path, their name                             |
// | path_of  | our path of a layer, given their name in any spelling that files have          |
// | layers   | in the stack                                                                   |
// | heads    | of an attention                                                                |
// | task     | of the head, none: no head, and names without the model's prefix               |
struct module_names {
  std::vector<std::pair<std::string, std::string>> modules;
  std::function<std::optional<std::string>(std::string_view module)> path_of;
  index_t layers = 0, heads = 1;
  std::optional<task_kind> task;

  std::optional<std::string> name_of(std::string_view path) const {
    for (const auto& [ours, theirs] : modules)
      if (ours == path)
        return theirs;
    return std::nullopt;
  }
};

namespace detail {

template <std::size_t N>
void add_modules(module_names& names, const std::array<name_pair, N>& table,
                 const std::string& before_path, const std::string& before_name) {
  for (const auto& [ours, theirs] : table)
    names.modules.emplace_back(before_path + std::string(ours), before_name + std::string(theirs));
}

}  // namespace detail

// The module tree of Hugging Face's class for this configuration: of the one with a head for
// config.task, or of the bare encoder.
GRAFT_PLAIN module_names hugging_face_names(const bert_config& c, bool with_head = true);

// A network of one's own, whose modules are called as its paths.
template <lists_parts Network>
module_names own_names(const Network& network) {
  module_names names;
  const auto parts = list_parts(network);
  for (const auto& p : parts.parameters)
    if (p.path.ends_with(".weight"))
      names.modules.emplace_back(p.path.substr(0, p.path.size() - 7),
                                 p.path.substr(0, p.path.size() - 7));
  names.layers = detail::layers_of(parts);
  names.path_of = [](std::string_view module) { return std::optional<std::string>(module); };
  return names;
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN module_names hugging_face_names(const bert_config& c, bool with_head) {
  module_names names;
  names.layers = c.layers;
  names.heads = c.heads;
  if (with_head)
    names.task = c.task;
  const std::string prefix(with_head ? prefix_of(c.family) : std::string_view());
  for (const auto& [ours, theirs] : detail::bert_body_names)
    if ((ours != "pooler" || c.family == bert_family::bert) &&
        (ours != "encoder_norm" || order_of(c.family) == norm_order::before) &&
        (ours != "embeddings.token_type" || c.family != bert_family::distilbert))
      names.modules.emplace_back(ours, prefix + std::string(theirs));
  for (index_t i = 0; i < c.layers; ++i)
    detail::with_layer_names(c.family, [&](const auto& table) {
      detail::add_modules(names, table, "layer." + std::to_string(i) + ".",
                          prefix + std::string(detail::layers_name(c.family)) + std::to_string(i) +
                              ".");
    });
  if (with_head && per_token(c.task))
    names.modules.emplace_back("head.classifier", c.task == task_kind::question_answering
                                                      ? "qa_outputs"
                                                      : "classifier");
  else if (with_head)
    detail::with_head_names(c.family, [&](const auto& table) {
      for (const auto& [ours, theirs] : table)
        if (ours.starts_with("head."))
          names.modules.emplace_back(ours, theirs);
    });
  names.path_of = [family = c.family](std::string_view module) {
    return path_of_module(family, module);
  };
  return names;
}

}  // namespace graft

#endif
