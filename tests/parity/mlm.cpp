// SPDX-License-Identifier: MIT
// Masked-language modelling with a tied decoder against PyTorch.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("masked-language modelling computes and learns what PyTorch does", "",
                   cpu<double>, cpu<float>) {
  golden peer("bert_mlm", "mlm");
  load_report report;
  auto model =
      load_masked_language_model<TestType, strategies::full>(golden_path("bert_mlm"), {}, &report);
  CHECK(report.fresh.empty());
  const masked_batch batch{golden_batch(peer, model.config), peer.integers("input.positions")};
  check_parity(model, peer, batch);
}

}  // namespace graft_test
