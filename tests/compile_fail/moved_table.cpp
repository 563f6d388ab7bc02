// SPDX-License-Identifier: MIT
// An embedding table on another backend.
// expect: graft: moved needs a layer over rows
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/moved.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::word, moved<reference<float>>{})};
};
bert_classifier<cpu<float>, wrong> model;
