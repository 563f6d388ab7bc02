// SPDX-License-Identifier: MIT
// LoRA on another sub-layer, in the top layers only.
// expect: graft: lora needs an affine layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward, lora{.rank = 4}, top(2))};
};
bert_classifier<cpu<float>, wrong> model;
