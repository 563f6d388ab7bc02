// SPDX-License-Identifier: MIT
// DoRA on a layer that is trained itself.
// expect: graft: dora scales the rows of a frozen weight, and this layer is trained
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/dora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, train{}), on(at::query, dora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
