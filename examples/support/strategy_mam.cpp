// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::mam = with_tuning<graft::strategies::mam>(
    {.name = "mam", .summary = "a prefix and parallel bottlenecks", .rate = 5e-4, .has_width = true});
