// SPDX-License-Identifier: MIT
// Factors of which one stays as it was taken: its file would hold what was made of the other alone.
// expect: graft: lora.train_a must be true with init pissa or olora
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::query, lora{.rank = dynamic, .train_a = false, .init = lora_init::pissa})};
};
bert_classifier<cpu<float>, wrong> model;
