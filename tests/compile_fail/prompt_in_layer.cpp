// SPDX-License-Identifier: MIT
// A prompt in a layer.
// expect: graft: prompt goes to at::word or at::embeddings
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/prompt.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::layer, prompt{.tokens = 20})};
};
bert_classifier<cpu<float>, wrong> model;
