// SPDX-License-Identifier: MIT
// An option's name misspelt.
// expect: rnak
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rnak = 4})};
};
bert_classifier<cpu<float>, wrong> model;
