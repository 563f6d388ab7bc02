// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::head = with_tuning<graft::strategies::head>(
    {.name = "head", .summary = "the head alone", .rate = 5e-3});
