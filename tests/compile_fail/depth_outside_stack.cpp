// SPDX-License-Identifier: MIT
// A bound on depth for a site that has no depth.
// expect: graft: this rule has a range of layers and names a site outside the stack
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::head, train{}, top(2))};
};
bert_classifier<cpu<float>, wrong> model;
