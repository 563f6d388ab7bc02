// SPDX-License-Identifier: MIT
// Few bits for a layer that is trained itself.
// expect: graft: quantize holds a frozen weight in fewer bits, and this layer is trained
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/quantize.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, train{}), on(at::query, quantize{})};
};
bert_classifier<cpu<float>, wrong> model;
