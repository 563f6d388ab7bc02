// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::prompt = with_tuning<graft::strategies::prompt>(
    {.name = "prompt", .summary = "learned rows before the words", .rate = 1e-2});
