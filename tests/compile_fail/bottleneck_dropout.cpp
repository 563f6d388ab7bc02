// SPDX-License-Identifier: MIT
// A dropout rate of 1.
// expect: graft: bottleneck.dropout must be at least 0 and below 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, bottleneck{.dropout = 1.0f})};
};
bert_classifier<cpu<float>, wrong> model;
