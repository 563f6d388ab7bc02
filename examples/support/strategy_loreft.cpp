// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::loreft = with_tuning<graft::strategies::loreft>(
    {.name = "loreft", .summary = "edits in a subspace of the first tokens", .rate = 2e-3});
