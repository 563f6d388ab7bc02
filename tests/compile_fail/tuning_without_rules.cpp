// SPDX-License-Identifier: MIT
// A tuning without rules.
// expect: constraint.*bert_classifier
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>

using namespace graft;

struct wrong {};
bert_classifier<cpu<float>, wrong> model;
