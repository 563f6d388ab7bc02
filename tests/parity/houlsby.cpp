// SPDX-License-Identifier: MIT
// A bottleneck after each sub-layer against AdapterHub.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("Houlsby adapters compute and learn what AdapterHub's do", "", cpu<double>,
                   cpu<float>) {
  const std::string model = GENERATE("bert", "roberta", "distilbert");
  check_classifier<TestType, strategies::houlsby>(model, "houlsby", with_width(6));
}

}  // namespace graft_test
