// SPDX-License-Identifier: MIT
// A bottleneck beside the feed-forward sub-layer against AdapterHub.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("parallel adapters compute and learn what AdapterHub's do", "", cpu<double>,
                   cpu<float>) {
  const std::string model = GENERATE("bert", "roberta", "distilbert");
  check_classifier<TestType, strategies::parallel>(model, "parallel", with_width(6));
}

}  // namespace graft_test
