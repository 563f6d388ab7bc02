// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::p_tuning = with_tuning<graft::strategies::p_tuning>(
    {.name = "p-tuning", .summary = "learned rows, made by a small network", .rate = 2e-3});
