// SPDX-License-Identifier: MIT
// LoRA around a bottleneck: the rules stand in the wrong order.
// expect: graft: lora needs an affine layer, and a bottleneck is wrapped around
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, bottleneck{.width = 8}),
                                on(at::query, lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
