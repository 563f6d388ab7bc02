// SPDX-License-Identifier: MIT
// A bank of low-rank updates on a layer norm.
// expect: graft: lora_bank needs an affine layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora_bank.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::norm, lora_bank{})};
};
bert_classifier<cpu<float>, wrong> model;
