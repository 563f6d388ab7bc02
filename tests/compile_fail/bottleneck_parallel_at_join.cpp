// SPDX-License-Identifier: MIT
// A bottleneck beside a join.
// expect: graft: a bottleneck in a join takes placement::after only
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::attention_join, bottleneck{.width = 8, .place = placement::parallel})};
};
bert_classifier<cpu<float>, wrong> model;
