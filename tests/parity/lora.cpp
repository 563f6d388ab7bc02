// SPDX-License-Identifier: MIT
// Low-rank updates of query and value against PEFT.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("LoRA on query and value computes and learns what PEFT's does", "", cpu<double>,
                   cpu<float>) {
  const std::string model = GENERATE("bert", "roberta", "distilbert");
  check_classifier<TestType, strategies::lora_query_value>(model, "lora", with_rank(4, 8));
}

}  // namespace graft_test
