// SPDX-License-Identifier: MIT
// VeRA on a sub-layer.
// expect: graft: vera needs an affine layer
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/vera.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward, vera{.rank = 8})};
};
bert_classifier<cpu<float>, wrong> model;
