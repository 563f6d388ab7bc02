// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::prefix_mlp = with_tuning<graft::strategies::prefix_mlp>(
    {.name = "prefix-mlp", .summary = "learned keys and values, made by a small network", .rate = 5e-4});
