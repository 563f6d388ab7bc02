// SPDX-License-Identifier: MIT
// IA3 in a join.
// expect: graft: ia3 needs a layer with one input, and this site is a join
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/ia3.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward_join, ia3{})};
};
bert_classifier<cpu<float>, wrong> model;
