// SPDX-License-Identifier: MIT
// The skip placement elsewhere than around a Transformer layer.
// expect: graft: a bottleneck with placement::skip goes around at::layer only
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 8, .place = placement::skip})};
};
bert_classifier<cpu<float>, wrong> model;
