// SPDX-License-Identifier: MIT
// LoRA: low-rank updates of affine layers, tables and convolutions.
#pragma once

#include <graft/tuning/lora_conv2d.hpp>
#include <graft/tuning/lora_embedding.hpp>
#include <graft/tuning/lora_layer.hpp>
#include <graft/tuning/lora_spec.hpp>
#include <graft/tuning/lora_start.hpp>
