// SPDX-License-Identifier: MIT
// Training biases alone against PyTorch.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("BitFit computes and learns what PyTorch does", "", cpu<double>, cpu<float>) {
  check_classifier<TestType, strategies::bitfit>("bert", "bitfit");
}

}  // namespace graft_test
