// SPDX-License-Identifier: MIT
// Rank-stabilised low-rank updates of a static rank against PEFT.
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

struct rank_stabilised {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 4, .alpha = 8, .scaling = lora_scaling::over_root}),
      on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("rank-stabilised LoRA computes and learns what PEFT's does", "", cpu<double>,
                   cpu<float>) {
  check_classifier<TestType, rank_stabilised>("bert", "rslora");
}

}  // namespace graft_test
