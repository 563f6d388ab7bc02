// SPDX-License-Identifier: MIT
// An update that is another for each sequence, to be merged.
// expect: graft: merge: this decoration is no part of one matrix with what it decorates
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/merge.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = 4, .gating = true})};
};
auto plain(bert_classifier<cpu<float>, wrong> model) { return merge(std::move(model)); }
