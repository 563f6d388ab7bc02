// SPDX-License-Identifier: MIT
#include "support/session_of.hpp"

const programs::strategy programs::menu::lora = with_tuning<graft::strategies::lora_query_value>(
    {.name = "lora", .summary = "LoRA on query and value", .rate = 2e-3, .has_rank = true});
