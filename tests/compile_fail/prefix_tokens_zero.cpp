// SPDX-License-Identifier: MIT
// A prefix without tokens.
// expect: graft: prefix.tokens must be at least 1
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/prefix.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::memory, prefix{.tokens = 0})};
};
bert_classifier<cpu<float>, wrong> model;
