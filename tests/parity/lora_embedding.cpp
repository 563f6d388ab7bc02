// SPDX-License-Identifier: MIT
// Low-rank updates of the word table against PEFT.
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

struct words_and_queries {
  static constexpr recipe rules{on(at::word | at::query, lora{.rank = 4, .alpha = 8}),
                                on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("LoRA on the word table computes and learns what PEFT's does", "", cpu<double>,
                   cpu<float>) {
  golden peer("bert", "lora_embedding");
  peer.transpose("lora_embedding_A");
  auto model = bert_classifier<TestType, words_and_queries>::load(golden_path("bert"), {});
  check_parity(model, peer, golden_batch(peer, model.config),
               endings(bert_family::bert, {{"lora.embedding_a", "lora_embedding_A"},
                                           {"lora.embedding_b", "lora_embedding_B"}}));
}

}  // namespace graft_test
