// SPDX-License-Identifier: MIT
// A bottleneck in the feed-forward join against AdapterHub.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("Pfeiffer adapters compute and learn what AdapterHub's do", "", cpu<double>,
                   cpu<float>) {
  const std::string model = GENERATE("bert", "roberta", "distilbert");
  check_classifier<TestType, strategies::pfeiffer>(model, "pfeiffer", with_width(6));
}

}  // namespace graft_test
