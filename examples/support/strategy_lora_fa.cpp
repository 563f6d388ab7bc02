// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::lora_fa = with_tuning<graft::strategies::lora_fa>(
    {.name = "lora-fa", .summary = "LoRA whose A is never trained", .rate = 2e-3, .has_rank = true});
