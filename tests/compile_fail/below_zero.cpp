// SPDX-License-Identifier: MIT
// All layers but the highest none.
// expect: graft: below\(k\): k must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{}, below(0))};
};
bert_classifier<cpu<float>, wrong> model;
