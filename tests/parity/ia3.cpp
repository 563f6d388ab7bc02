// SPDX-License-Identifier: MIT
// Scaling by learned vectors against PEFT and AdapterHub, which scale different places.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

struct outputs {
  static constexpr recipe rules{on(at::key | at::value | at::feed_forward_input, ia3{}),
                                on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("IA3 computes and learns what PEFT's does", "", cpu<double>, cpu<float>) {
  check_classifier<TestType, strategies::ia3>("bert", "ia3", {},
                                              endings(bert_family::bert, {{"ia3.scale", "ia3_l"}}));
}

TEST_CASE("IA3 computes and learns what AdapterHub's does") {
  check_classifier<cpu<double>, outputs>(
      "bert", "ia3_adapterhub", {}, endings(bert_family::bert, {{"ia3.scale", "loras.a.lora_B"}}));
}

}  // namespace graft_test
