// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::lora_plus = with_tuning<graft::strategies::lora_plus>(
    {.name = "lora-plus", .summary = "LoRA whose B learns faster", .rate = 5e-4, .has_rank = true});
