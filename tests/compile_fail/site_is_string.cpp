// SPDX-License-Identifier: MIT
// A string where a site belongs.
// expect: no matching function for call to .*on
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on("query", lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
