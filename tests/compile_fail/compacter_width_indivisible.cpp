// SPDX-License-Identifier: MIT
// A width that the number of rules does not divide.
// expect: graft: compacter.width must be a multiple of dim
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/compacter.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward_join, compacter{.width = 10})};
};
bert_classifier<cpu<float>, wrong> model;
