// SPDX-License-Identifier: MIT
// A composition of one adapter.
// expect: graft: a composition must have 2 to 26 adapters
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/composition.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward_join, compose::fuse{.adapters = 1})};
};
bert_classifier<cpu<float>, wrong> model;
