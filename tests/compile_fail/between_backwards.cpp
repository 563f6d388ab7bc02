// SPDX-License-Identifier: MIT
// A range of layers that ends before it begins.
// expect: graft: between\(first, last\): first must be at least 0, and last beyond it
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{}, between(2, 2))};
};
bert_classifier<cpu<float>, wrong> model;
