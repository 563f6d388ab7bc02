// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::dora = with_tuning<graft::strategies::dora>(
    {.name = "dora", .summary = "LoRA of directions, and trained lengths", .rate = 2e-3, .has_rank = true});
