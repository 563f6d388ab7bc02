// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::compacter = with_tuning<graft::strategies::compacter>(
    {.name = "compacter", .summary = "Kronecker bottlenecks, two to a layer", .rate = 4e-3, .has_width = true});
