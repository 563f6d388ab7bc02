// SPDX-License-Identifier: MIT
// Low-rank updates of every dense map against PEFT.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("LoRA on every linear computes and learns what PEFT's does", "", cpu<double>,
                   cpu<float>) {
  check_classifier<TestType, strategies::lora_all_linear>("bert", "lora_all", with_rank(4, 8));
}

}  // namespace graft_test
