// SPDX-License-Identifier: MIT
// A prefix at a projection.
// expect: graft: prefix goes to at::memory
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/prefix.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::key | at::value, prefix{})};
};
bert_classifier<cpu<float>, wrong> model;
