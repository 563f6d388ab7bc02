// SPDX-License-Identifier: MIT
// A negative rank.
// expect: graft: lora.rank must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = -1})};
};
bert_classifier<cpu<float>, wrong> model;
