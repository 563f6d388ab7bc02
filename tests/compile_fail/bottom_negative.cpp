// SPDX-License-Identifier: MIT
// Fewer than no layers at the bottom.
// expect: graft: bottom\(k\): k must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{}, bottom(-2))};
};
bert_classifier<cpu<float>, wrong> model;
