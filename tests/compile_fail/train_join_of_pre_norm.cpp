// SPDX-License-Identifier: MIT
// The joins of post-LN layers hold the norms; those of pre-LN layers have nothing to train.
// expect: graft: this rule trains where there are no parameters
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::head, train{}), on(at::feed_forward_join, train{})};
};
bert_classifier<cpu<float>, wrong, norm_order::before> model;
