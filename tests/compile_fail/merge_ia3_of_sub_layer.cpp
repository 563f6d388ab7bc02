// SPDX-License-Identifier: MIT
// A scale of a whole sub-layer's output, to be merged into a matrix.
// expect: graft: merge: this decoration is no part of one matrix with what it decorates
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/merge.hpp>
#include <graft/tuning/ia3.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query | at::feed_forward, ia3{})};
};
auto plain(bert_classifier<cpu<float>, wrong> model) { return merge(std::move(model)); }
