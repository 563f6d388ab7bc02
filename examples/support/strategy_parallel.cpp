// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::parallel = with_tuning<graft::strategies::parallel>(
    {.name = "parallel",
     .summary = "a bottleneck beside the feed-forward sub-layer",
     .rate = 1e-3,
     .has_width = true});
