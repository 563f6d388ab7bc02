// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::top2 = with_tuning<graft::strategies::top2>(
    {.name = "top2", .summary = "the two highest layers, the pooler and the head", .rate = 3e-4});
