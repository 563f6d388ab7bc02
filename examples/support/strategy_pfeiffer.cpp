// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::pfeiffer =
    with_tuning<graft::strategies::pfeiffer>({.name = "pfeiffer",
                                              .summary = "a bottleneck in the feed-forward join",
                                              .rate = 2e-3,
                                              .has_width = true});
