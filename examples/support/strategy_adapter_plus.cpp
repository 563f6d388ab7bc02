// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::adapter_plus = with_tuning<graft::strategies::adapter_plus>(
    {.name = "adapter-plus", .summary = "a bottleneck behind each layer's norm", .rate = 2e-3, .has_width = true});
