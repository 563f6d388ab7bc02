// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::unipelt = with_tuning<graft::strategies::unipelt>(
    {.name = "unipelt", .summary = "gated prefix, LoRA and bottlenecks", .rate = 2e-3, .has_rank = true, .has_width = true});
