// SPDX-License-Identifier: MIT
// LoRA where keys and values may be added.
// expect: graft: lora needs an affine layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::memory, lora{})};
};
bert_classifier<cpu<float>, wrong> model;
