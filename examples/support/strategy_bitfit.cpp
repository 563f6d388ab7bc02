// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::bitfit = with_tuning<graft::strategies::bitfit>(
    {.name = "bitfit", .summary = "all biases", .rate = 3e-3});
