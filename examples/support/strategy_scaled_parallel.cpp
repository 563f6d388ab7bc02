// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::scaled_parallel = with_tuning<graft::strategies::scaled_parallel>(
    {.name = "scaled-parallel", .summary = "a parallel bottleneck of learned scale", .rate = 2e-3, .has_width = true});
