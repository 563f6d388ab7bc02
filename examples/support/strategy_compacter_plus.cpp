// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::compacter_plus = with_tuning<graft::strategies::compacter_plus>(
    {.name = "compacter-plus", .summary = "a Kronecker bottleneck to a layer", .rate = 4e-3, .has_width = true});
