// SPDX-License-Identifier: MIT
// Few bits for a table.
// expect: graft: quantize needs a frozen linear layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/quantize.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, quantize{})};
};
bert_classifier<cpu<float>, wrong> model;
