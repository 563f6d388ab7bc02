// SPDX-License-Identifier: MIT
// DoRA where no weight stands.
// expect: graft: dora needs a frozen affine layer, and none stands at this site
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/dora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::feed_forward_join, dora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
