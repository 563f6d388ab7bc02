// SPDX-License-Identifier: MIT
// What is added to keys and values is a decoration; the place itself has nothing to train.
// expect: graft: this rule trains where there are no parameters
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::head, train{}), on(at::memory, train{})};
};
bert_classifier<cpu<float>, wrong> model;
