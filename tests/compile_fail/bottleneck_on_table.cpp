// SPDX-License-Identifier: MIT
// A bottleneck on an embedding table.
// expect: graft: a bottleneck needs a layer over rows
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, bottleneck{.width = 8})};
};
bert_classifier<cpu<float>, wrong> model;
