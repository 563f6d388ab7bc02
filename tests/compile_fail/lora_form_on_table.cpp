// SPDX-License-Identifier: MIT
// LoRA with a frozen A on a table.
// expect: graft: lora on a table or a convolution takes no train_a, init, gating or bias
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, lora{.rank = 4, .train_a = false})};
};
bert_classifier<cpu<float>, wrong> model;
