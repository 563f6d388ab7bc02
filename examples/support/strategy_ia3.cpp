// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::ia3 = with_tuning<graft::strategies::ia3>(
    {.name = "ia3", .summary = "scales of keys, values and inner columns", .rate = 1e-2});
