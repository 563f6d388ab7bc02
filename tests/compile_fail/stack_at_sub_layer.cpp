// SPDX-License-Identifier: MIT
// A stack of adapters elsewhere than in a join.
// expect: graft: a stack of adapters goes into a join
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/composition.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward, compose::stack{.adapters = 2})};
};
bert_classifier<cpu<float>, wrong> model;
