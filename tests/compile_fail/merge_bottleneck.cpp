// SPDX-License-Identifier: MIT
// A bottleneck, which is no matrix, to be merged into one.
// expect: graft: merge: this decoration is no part of one matrix with what it decorates
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/merge.hpp>
#include <graft/tuning/bottleneck.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward_output, bottleneck{.width = 8})};
};
auto plain(bert_classifier<cpu<float>, wrong> model) { return merge(std::move(model)); }
