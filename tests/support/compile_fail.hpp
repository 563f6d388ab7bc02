// SPDX-License-Identifier: MIT
// What nearly every file of compile_fail/ includes, parsed once. The files still name their own includes.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>
