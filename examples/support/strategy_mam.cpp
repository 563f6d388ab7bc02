// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::mam = with_tuning<graft::strategies::mam>(
    {.name = "mam", .summary = "a prefix and parallel bottlenecks", .rate = 2e-3, .has_width = true});
