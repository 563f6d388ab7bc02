// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::skip = with_tuning<graft::strategies::skip>(
    {.name = "skip", .summary = "a bottleneck around each layer", .rate = 1e-3, .has_width = true});
