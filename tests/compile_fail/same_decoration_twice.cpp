// SPDX-License-Identifier: MIT
// Two rules that put LoRA around the query projection.
// expect: graft: two rules put the same decoration around one site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = 4}),
                                on(at::projection, lora{.rank = 8}, top(2))};
};
bert_classifier<cpu<float>, wrong> model;
