// SPDX-License-Identifier: MIT
// What PEFT and AdapterHub call the parameters of prefixes in the golden BERT. Both keep the prefixes of all
// layers in one matrix: of each row, the keys and then the values of every layer.
#pragma once

#include "support/golden.hpp"

#include <cstddef>
#include <string>

namespace graft_test {

// Of the golden BERT: its width and layers, the columns inside an encoder, those of the whole matrix.
namespace prefix_sizes {
inline constexpr std::size_t width = 16, layers = 3, hidden = 10, all = 2 * layers * width;
}

// The peer's names, given those of the whole matrix, of the embedding, and of the two maps.
inline renaming prefix_names(const std::string& flat, const std::string& embedding,
                             const std::string& map) {
  using namespace prefix_sizes;
  return [=](const std::string& path) -> std::string {
    if (path == "prefix.embedding")
      return embedding;
    if (path == "prefix.down.weight" || path == "prefix.down.bias")
      return map + ".0" + path.substr(path.rfind('.'));
    const std::size_t at = path.find(".attention.memory.prefix.");
    if (at == std::string::npos)
      return {};
    const std::size_t n = std::stoul(path.substr(path.find('.') + 1));
    if (path.ends_with("gate.weight") || path.ends_with("gate.bias"))
      return "bert.encoder.layer." + std::to_string(n) +
             ".attention.self.prefix_tuning.prefix_gates.a" + path.substr(path.rfind('.'));
    if (path.ends_with("up.weight"))
      return part_name(map + ".2.weight", 2 * n * width * hidden, 2 * width * hidden, all * hidden);
    if (path.ends_with("up.bias"))
      return part_name(map + ".2.bias", 2 * n * width, 2 * width, all);
    return part_name(flat, (2 * n + (path.ends_with("values") ? 1 : 0)) * width, width, all);
  };
}

inline const renaming of_peft =
    prefix_names("prompt_encoder.embedding.weight", "prompt_encoder.embedding.weight",
                 "prompt_encoder.transform");
inline const std::string prefix_pool =
    "bert.encoder.layer.0.attention.self.prefix_tuning.pool.prefix_tunings.a.self_prefix.";
inline const renaming of_adapterhub =
    prefix_names(prefix_pool + "control_trans", prefix_pool + "wte.weight",
                 prefix_pool + "control_trans");

}  // namespace graft_test
