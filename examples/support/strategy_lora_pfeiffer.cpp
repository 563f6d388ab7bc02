// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::lora_pfeiffer =
    with_tuning<graft::strategies::lora_pfeiffer>(
        {.name = "lora+pfeiffer",
         .summary = "LoRA on query and value, and a Pfeiffer bottleneck",
         .rate = 2e-3,
         .has_rank = true,
         .has_width = true});
