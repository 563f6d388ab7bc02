// SPDX-License-Identifier: MIT
// Factors taken out of a weight that is trained itself.
// expect: graft: lora.init pissa and olora change the weight of a frozen linear layer
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::query, train{}),
      on(at::query, lora{.rank = dynamic, .start_rank = 4, .init = lora_init::olora})};
};
bert_classifier<cpu<float>, wrong> model;
