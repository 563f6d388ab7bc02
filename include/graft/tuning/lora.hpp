// SPDX-License-Identifier: MIT
// LoRA: low-rank updates of affine layers.
#pragma once

#include <graft/tuning/lora_layer.hpp>
#include <graft/tuning/lora_spec.hpp>
#include <graft/tuning/lora_start.hpp>
