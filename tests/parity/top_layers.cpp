// SPDX-License-Identifier: MIT
// Training the highest layer against PyTorch.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

// Unlike strategies::top2, PEFT's BERT keeps the pooler frozen.
struct highest_layer {
  static constexpr recipe rules{on(at::layer, train{}, top(1)), on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("training the highest layer computes and learns what PyTorch does", "",
                   cpu<double>, cpu<float>) {
  check_classifier<TestType, highest_layer>("bert", "top1");
}

}  // namespace graft_test
