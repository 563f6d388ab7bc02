// SPDX-License-Identifier: MIT
// LoRA on a join.
// expect: graft: lora needs an affine layer, and this site is a join
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::attention_join, lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
