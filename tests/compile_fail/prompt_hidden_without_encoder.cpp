// SPDX-License-Identifier: MIT
// A width inside an encoder that is not there.
// expect: graft: prompt.hidden must be 0 without an encoder
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/prompt.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, prompt{.hidden = 64})};
};
bert_classifier<cpu<float>, wrong> model;
