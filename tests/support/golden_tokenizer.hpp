// SPDX-License-Identifier: MIT
// The golden tokenizers (golden/README.md).
#pragma once

#include <graft/text/tokenizer.hpp>

#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

namespace graft_test {

inline graft::tokenizer golden_tokenizer(const std::string& name) {
  return graft::tokenizer::load(GRAFT_TEST_DATA "/tokenizer/" + name);
}

// What Hugging Face's tokenizers made of some texts.
inline const nlohmann::json& golden_ids() {
  static const nlohmann::json file =
      nlohmann::json::parse(std::ifstream(GRAFT_TEST_DATA "/tokenizer/ids.json"));
  return file;
}

}  // namespace graft_test
