// SPDX-License-Identifier: MIT
// ReFT on a sub-layer.
// expect: graft: reft edits what a whole Transformer layer puts out
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/reft.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::attention, reft{.rank = 2})};
};
bert_classifier<cpu<float>, wrong> model;
