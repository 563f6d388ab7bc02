// SPDX-License-Identifier: MIT
// A rank of zero.
// expect: graft: lora.rank must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = 0})};
};
bert_classifier<cpu<float>, wrong> model;
