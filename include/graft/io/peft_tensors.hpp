// SPDX-License-Identifier: MIT
// What the tensors in PEFT's files are, by their names.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/peft_config.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace graft::detail {

//   piece       of what decorates a module: `path` is the module's, `ending` says which
//   token_rows  some rows of the table at `path`
//   vera_a, vera_b, prompt  the one there is
//   replaced    what the adapter stands in place of: nothing of it
//   base        the base's own parameter at `path`, `ending` is ".weight" or ".bias"
enum class peft_part : unsigned char { piece, token_rows, vera_a, vera_b, prompt, replaced, base };

struct peft_tensor {
  peft_part part;
  std::string path;
  std::string_view ending;
};

struct peft_piece {
  std::string_view ending, piece;
};

// The pieces that a method may have at a module, by how their names end.
GRAFT_PLAIN std::span<const peft_piece> pieces_of(const peft_config& c);

inline bool is_prompt_learning(const peft_config& c) {
  return c.type == "PROMPT_TUNING" || c.type == "P_TUNING" || c.type == "PREFIX_TUNING";
}

// A name without what wrappers add to it: PEFT's own, torch.compile's, FSDP's.
GRAFT_PLAIN std::string unwrapped(std::string name);

// Nothing for a name that the method has no use for, or whose module the model does not have.
GRAFT_PLAIN std::optional<peft_tensor> recognised(std::string_view name, const peft_config& c,
                                                  const module_names& names);

}  // namespace graft::detail

#if GRAFT_BODIES

namespace graft::detail {

GRAFT_PLAIN std::span<const peft_piece> pieces_of(const peft_config& c) {
  static constexpr peft_piece lora[]{{".lora_A.weight", "a"},
                                     {".lora_B.weight", "b"},
                                     {".lora_B.bias", "bias"},
                                     {".lora_embedding_A", "table_a"},
                                     {".lora_embedding_B", "table_b"},
                                     {".lora_magnitude_vector", "magnitude"},
                                     {".lora_magnitude_vector.weight", "magnitude"}};
  static constexpr peft_piece adalora[]{{".lora_A", "a"}, {".lora_B", "b"}, {".lora_E", "e"}};
  static constexpr peft_piece vera[]{{".vera_lambda_d", "lambda_d"}, {".vera_lambda_b", "lambda_b"}};
  static constexpr peft_piece ia3[]{{".ia3_l", "scale"}};
  if (c.type == "LORA")
    return lora;
  if (c.type == "ADALORA")
    return adalora;
  if (c.type == "VERA")
    return vera;
  if (c.type == "IA3")
    return ia3;
  return {};
}

inline bool says_there_is(const peft_config& c, std::string_view piece) {
  return (piece != "bias" || c.bias_of_update) && (piece != "magnitude" || c.dora);
}

GRAFT_PLAIN std::string unwrapped(std::string name) {
  for (const std::string_view part : {"_orig_mod.", "_fsdp_wrapped_module."})
    for (std::size_t at; (at = name.find(part)) != std::string::npos;)
      name.erase(at, part.size());
  for (const std::string_view prefix : {"base_model.model.", "base_model."})
    if (name.starts_with(prefix))
      return name.substr(prefix.size());
  return name;
}

GRAFT_PLAIN std::optional<peft_tensor> recognised(std::string_view name, const peft_config& c,
                                                  const module_names& names) {
  // The path of the module whose name is followed by `ending`.
  const auto module_before = [&](std::string_view ending) -> std::optional<std::string> {
    if (!name.ends_with(ending))
      return std::nullopt;
    return names.path_of(name.substr(0, name.size() - ending.size()));
  };
  for (const peft_piece& p : pieces_of(c))
    if (auto path = module_before(p.ending); path && says_there_is(c, p.piece))
      return peft_tensor{peft_part::piece, std::move(*path), p.piece};
  for (const char* ending : {".token_adapter.trainable_tokens_delta", ".trainable_tokens_delta"})
    if (auto path = module_before(ending))
      return peft_tensor{peft_part::token_rows, std::move(*path), {}};
  if (c.type == "VERA" && (name == "vera_A" || name == "vera_B"))
    return peft_tensor{name == "vera_A" ? peft_part::vera_a : peft_part::vera_b, {}, {}};
  if (is_prompt_learning(c) && name == "prompt_embeddings")
    return peft_tensor{peft_part::prompt, {}, {}};
  // With bias "all" PEFT writes what modules_to_save replaced, too.
  if (name.find(".original_module.") != std::string_view::npos)
    return peft_tensor{peft_part::replaced, {}, {}};
  std::string module(name);
  for (const std::string_view part : {".modules_to_save.default.", ".modules_to_save.", ".base_layer."})
    if (const auto at = module.find(part); at != std::string::npos)
      module.replace(at, part.size(), ".");
  for (const std::string_view ending : {".weight", ".bias"})
    if (module.ends_with(ending))
      if (auto path = names.path_of(std::string_view(module).substr(0, module.size() - ending.size())))
        return peft_tensor{peft_part::base, std::move(*path), ending};
  return std::nullopt;
}

}  // namespace graft::detail

#endif
