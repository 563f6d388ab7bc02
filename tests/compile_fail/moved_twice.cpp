// SPDX-License-Identifier: MIT
// A layer that is to move with a part that has moved elsewhere.
// expect: graft: moved: this layer, or a part or decoration of it, has no form on another backend
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/moved.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, moved<reference<float>>{}),
                                on(at::layer, moved<cpu<double>>{})};
};
bert_classifier<cpu<float>, wrong> model;
