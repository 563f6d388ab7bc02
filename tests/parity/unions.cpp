// SPDX-License-Identifier: MIT
// Unions of methods against AdapterHub.
#include <graft/tuning/strategies.hpp>

#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/prefix_names.hpp"

namespace graft_test {

namespace {

std::string union_name(const std::string& path) {
  if (const std::string name = of_adapterhub(path); !name.empty())
    return name;
  static const renaming of_lora =
      endings(bert_family::bert, {{"lora.a", "loras.a.lora_A"},
                                  {"lora.b", "loras.a.lora_B"},
                                  {"lora.gate.weight", "loras.a.gate.weight"},
                                  {"lora.gate.bias", "loras.a.gate.bias"}});
  if (const std::string name = of_lora(path); !name.empty())
    return name;
  return adapterhub_name(path);
}

}  // namespace

TEST_CASE("MAM computes and learns what AdapterHub's does") {
  check_classifier<cpu<double>, strategies::mam>(
      "bert", "mam", {{"tokens", 4}, {"hidden", 10}, {"width", 6}}, union_name);
}

TEST_CASE("UniPELT computes and learns what AdapterHub's does") {
  check_classifier<cpu<double>, strategies::unipelt>(
      "bert", "unipelt", {{"tokens", 4}, {"hidden", 10}, {"width", 6}, {"rank", 2}}, union_name);
}

}  // namespace graft_test
