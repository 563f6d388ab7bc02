// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::olora = with_tuning<graft::strategies::olora>(
    {.name = "olora", .summary = "LoRA on columns of an orthogonal basis of W", .rate = 5e-4, .has_rank = true});
