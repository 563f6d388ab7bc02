// SPDX-License-Identifier: MIT
// Prompts at the word table and behind the embeddings.
// expect: graft: there is one prompt in a model
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/prompt.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word | at::embeddings, prompt{})};
};
bert_classifier<cpu<float>, wrong> model;
