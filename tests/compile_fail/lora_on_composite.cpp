// SPDX-License-Identifier: MIT
// LoRA on a whole sub-layer.
// expect: graft: lora needs an affine layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::attention, lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
