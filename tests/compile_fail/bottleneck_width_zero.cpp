// SPDX-License-Identifier: MIT
// An adapter without columns.
// expect: graft: bottleneck.width must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, bottleneck{.width = 0})};
};
bert_classifier<cpu<float>, wrong> model;
