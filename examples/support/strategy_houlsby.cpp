// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::houlsby =
    with_tuning<graft::strategies::houlsby>({.name = "houlsby",
                                             .summary = "a bottleneck after each sub-layer",
                                             .rate = 1e-3,
                                             .has_width = true});
