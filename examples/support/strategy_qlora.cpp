// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::qlora = with_tuning<graft::strategies::qlora>(
    {.name = "qlora", .summary = "LoRA over frozen weights of 4 bits", .rate = 2e-3, .has_rank = true});
