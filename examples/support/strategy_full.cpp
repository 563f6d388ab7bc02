// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::full = with_tuning<graft::strategies::full>(
    {.name = "full", .summary = "every parameter", .rate = 1e-4});
