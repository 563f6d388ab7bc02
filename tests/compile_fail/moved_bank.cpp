// SPDX-License-Identifier: MIT
// A decoration that does not go along.
// expect: graft: moved: this layer, or a part or decoration of it, has no form on another backend
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora_bank.hpp>
#include <graft/tuning/moved.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora_bank{}),
                                on(at::query, moved<reference<float>>{})};
};
bert_classifier<cpu<float>, wrong> model;
