// SPDX-License-Identifier: MIT
// More weights than adapters.
// expect: graft: average.weights must not be more than there are adapters
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/composition.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{
      on(at::feed_forward_join, compose::average{.adapters = 2, .weights = {1, 1, 1}})};
};
bert_classifier<cpu<float>, wrong> model;
