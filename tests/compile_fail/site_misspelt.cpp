// SPDX-License-Identifier: MIT
// A site's name misspelt.
// expect: qurey.*did you mean .*query
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::qurey, lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
