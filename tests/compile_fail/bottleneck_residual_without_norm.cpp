// SPDX-License-Identifier: MIT
// A residual into a norm that is not there.
// expect: graft: bottleneck.adapter_residual_before_ln must come with ln_after
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::feed_forward_join, bottleneck{.width = 8, .adapter_residual_before_ln = true})};
};
bert_classifier<cpu<float>, wrong> model;
