// SPDX-License-Identifier: MIT
// Factors taken out of a weight in few bits, which could not hold the rest.
// expect: graft: lora.init pissa and olora change the weight of a frozen linear layer, and this one
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/quantize.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, quantize{}),
                                on(at::query, lora{.rank = dynamic, .init = lora_init::pissa})};
};
bert_classifier<cpu<float>, wrong> model;
