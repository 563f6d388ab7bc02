// SPDX-License-Identifier: MIT
// A join that is to compute again.
// expect: graft: recompute needs a layer over rows
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/recompute.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::attention_join, recompute{})};
};
bert_classifier<cpu<float>, wrong> model;
