// SPDX-License-Identifier: MIT
// What step.cpp and peers/step.cpp measure: the strategies of graft, LoRA of ranks known at compile time, and
// tunings that trade time for memory.
#pragma once

#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/strategies.hpp>

namespace graft_bench::tunings {

using namespace graft::strategies;
using graft::on;
using graft::recipe;

struct lora8 {
  static constexpr recipe rules{
      on(graft::at::query | graft::at::value, graft::lora{.rank = 8, .alpha = 16}),
      on(graft::at::head, graft::train{})};
};
struct lora16_all {
  static constexpr recipe rules{on(graft::at::linear, graft::lora{.rank = 16, .alpha = 16}),
                                on(graft::at::head, graft::train{})};
};
// What LoRA needs of the base alone, forward and back through every layer: gradients go down to a few numbers below
// the layers.
struct base_only {
  static constexpr recipe rules{on(graft::at::embedding_norm, graft::train{graft::biases}),
                                on(graft::at::head, graft::train{})};
};
// The same over frozen weights in 16 bits.
inline constexpr graft::quantize in_bf16{.to = graft::number_format::bf16};
struct head_bf16 {
  static constexpr recipe rules{on(graft::at::linear, in_bf16), on(graft::at::head, graft::train{})};
};
struct top2_bf16 {
  static constexpr recipe rules{on(graft::at::linear, in_bf16, graft::below(2)),
                                on(graft::at::layer, graft::train{}, graft::top(2)),
                                on(graft::at::pooler, graft::train{}), on(graft::at::head, graft::train{})};
};
struct lora8_bf16 {
  static constexpr recipe rules{
      on(graft::at::linear, in_bf16),
      on(graft::at::query | graft::at::value, graft::lora{.rank = 8, .alpha = 16}),
      on(graft::at::head, graft::train{})};
};
struct lora16_all_bf16 {
  static constexpr recipe rules{on(graft::at::linear, in_bf16),
                                on(graft::at::linear, graft::lora{.rank = 16, .alpha = 16}),
                                on(graft::at::head, graft::train{})};
};
struct houlsby_bf16 {
  static constexpr recipe rules{
      on(graft::at::linear, in_bf16),
      on(graft::at::attention | graft::at::feed_forward,
         graft::bottleneck{.width = 48, .activation = graft::activation::silu}),
      on(graft::at::head, graft::train{})};
};
// … in 8 bits, their inputs too.
inline constexpr graft::quantize in_int8{.to = graft::number_format::int8, .inputs = true};
struct lora8_int8 {
  static constexpr recipe rules{
      on(graft::at::linear, in_int8),
      on(graft::at::query | graft::at::value, graft::lora{.rank = 8, .alpha = 16}),
      on(graft::at::head, graft::train{})};
};
struct lora16_all_int8 {
  static constexpr recipe rules{on(graft::at::linear, in_int8),
                                on(graft::at::linear, graft::lora{.rank = 16, .alpha = 16}),
                                on(graft::at::head, graft::train{})};
};
struct full_recompute {
  static constexpr recipe rules{on(graft::at::everything, graft::train{}),
                                on(graft::at::layer, graft::recompute{})};
};
struct lora_recompute {
  static constexpr recipe rules{
      on(graft::at::query | graft::at::value, graft::lora{.rank = graft::dynamic, .alpha = 16}),
      on(graft::at::layer, graft::recompute{}), on(graft::at::head, graft::train{})};
};
// AdapterDrop while training: no adapter in the lowest three layers, so no backward there either.
struct pfeiffer_above3 {
  static constexpr recipe rules{
      on(graft::at::feed_forward_join, graft::bottleneck{.width = 48}, graft::above(3)),
      on(graft::at::head, graft::train{})};
};

}  // namespace graft_bench::tunings
