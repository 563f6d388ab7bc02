// SPDX-License-Identifier: MIT
// An option of joins at a sub-layer.
// expect: graft: original_ln_before, original_ln_after and residual are options of a bottleneck in a join
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 8, .original_ln_after = false})};
};
bert_classifier<cpu<float>, wrong> model;
