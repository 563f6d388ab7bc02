// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::adalora = with_tuning<graft::strategies::adalora>(
    {.name = "adalora", .summary = "LoRA whose ranks are shared out by use", .rate = 1e-2});
