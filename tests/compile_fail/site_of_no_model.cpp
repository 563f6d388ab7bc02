// SPDX-License-Identifier: MIT
// A tag that is no site of the model.
// expect: graft: this rule names a site that the model does not have
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

struct convolution_t : at::everything_t {};
inline constexpr convolution_t convolution{};

struct wrong {
  static constexpr recipe rules{on(convolution, lora{.rank = 4})};
};
bert_classifier<cpu<float>, wrong> model;
