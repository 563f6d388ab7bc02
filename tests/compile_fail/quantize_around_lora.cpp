// SPDX-License-Identifier: MIT
// The rules of QLoRA in the wrong order.
// expect: graft: quantize holds the weight of a linear layer in fewer bits, and this one is decorated
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/quantize.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = 4}), on(at::linear, quantize{})};
};
bert_classifier<cpu<float>, wrong> model;
