// SPDX-License-Identifier: MIT
// A dropout rate above 1.
// expect: graft: lora.dropout must be at least 0 and below 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.dropout = 1.5f})};
};
bert_classifier<cpu<float>, wrong> model;
