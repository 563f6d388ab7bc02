// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::pissa = with_tuning<graft::strategies::pissa>(
    {.name = "pissa", .summary = "LoRA on W's greatest singular vectors", .rate = 5e-4, .has_rank = true});
