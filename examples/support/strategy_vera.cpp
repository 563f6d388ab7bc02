// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::vera = with_tuning<graft::strategies::vera>(
    {.name = "vera", .summary = "scales around random shared matrices", .rate = 1e-2});
