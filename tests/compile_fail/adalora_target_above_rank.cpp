// SPDX-License-Identifier: MIT
// AdaLoRA that is to end with more ranks than it starts with.
// expect: graft: adalora.target_rank must be at least 1 and at most adalora.rank
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adalora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, adalora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
