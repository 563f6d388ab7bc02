// SPDX-License-Identifier: MIT
// A rule that trains nothing.
// expect: graft: train.what must be
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::head, train{params::none})};
};
bert_classifier<cpu<float>, wrong> model;
