// SPDX-License-Identifier: MIT
// Inputs in 8 bits under weights in 16.
// expect: graft: quantize.inputs rounds inputs to the 8 bits of int8 weights: quantize.to must be int8
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/quantize.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::linear, quantize{.to = number_format::bf16, .inputs = true})};
};
bert_classifier<cpu<float>, wrong> model;
