// SPDX-License-Identifier: MIT
// Full fine-tuning against PyTorch.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("full fine-tuning computes and learns what PyTorch does", "", cpu<double>,
                   cpu<float>) {
  const std::string model = GENERATE("bert", "roberta", "distilbert");
  golden peer(model, "full");
  auto ours = bert_classifier<TestType, strategies::full>::load(golden_path(model), {});
  if (model == "bert") {
    const token_batch pairs = golden_batch(peer, ours.config, peer.integers("pair.types"));
    host_workspace memory;
    const context<TestType> k{memory, pairs.rows};
    CHECK(error_of(elements(ours.predict(pairs, k)), peer.values("pair.logits")) <=
          (sizeof(typename TestType::scalar) == 8 ? 1e-9 : 1e-5));
  }
  check_parity(ours, peer, golden_batch(peer, ours.config));
}

}  // namespace graft_test
