// SPDX-License-Identifier: MIT
// A backend that lacks an operation.
// expect: constraint.*bert_classifier
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct lacking : cpu<float> {
  static void attention() = delete;
};
bert_classifier<lacking> model;
