// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::prefix = with_tuning<graft::strategies::prefix>(
    {.name = "prefix", .summary = "learned keys and values", .rate = 1e-2});
