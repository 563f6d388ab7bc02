// SPDX-License-Identifier: MIT
// Biases of a layer that has none.
// expect: graft: this rule trains biases where there are none
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, train{biases})};
};
bert_classifier<cpu<float>, wrong> model;
