// SPDX-License-Identifier: MIT
// A number where a decoration belongs.
// expect: no matching function for call to '(graft::)?on
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, 4)};
};
bert_classifier<cpu<float>, wrong> model;
