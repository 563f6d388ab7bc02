// SPDX-License-Identifier: MIT
// Named tunings: the ways of fine-tuning that the field compares, each a recipe. They name sites of
// encoders with a head; ranks and widths are those of the papers and may be changed when a model is
// built (decoration_numbers).
#pragma once

#include <graft/tuning/adalora.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/compacter.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/prefix.hpp>
#include <graft/tuning/prompt.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recipe.hpp>
#include <graft/tuning/reft.hpp>
#include <graft/tuning/vera.hpp>

namespace graft::strategies {

// Every parameter is trained.
struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};

// The head alone (linear probing).
struct head {
  static constexpr recipe rules{on(at::head, train{})};
};

// The two highest layers, the pooler and the head.
struct top2 {
  static constexpr recipe rules{on(at::layer, train{}, top(2)), on(at::pooler, train{}),
                                on(at::head, train{})};
};

// All biases, and the head (Zaken et al. 2022, arXiv:2106.10199).
struct bitfit {
  static constexpr recipe rules{on(at::everything, train{biases}), on(at::head, train{})};
};

// All norms and biases, and the head.
struct norms_and_biases {
  static constexpr recipe rules{on(at::everything, train{biases}), on(at::norm, train{}),
                                on(at::head, train{})};
};

// LoRA on query and value, and the head (Hu et al. 2021, arXiv:2106.09685).
struct lora_query_value {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic, .alpha = 16}),
                                on(at::head, train{})};
};

// LoRA on the six dense maps of every layer, and the head.
struct lora_all_linear {
  static constexpr recipe rules{on(at::linear, lora{.rank = dynamic, .alpha = 16}),
                                on(at::head, train{})};
};

// LoRA whose A stays as it started, on query and value, and the head (Zhang et al. 2023,
// arXiv:2308.03303).
struct lora_fa {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = dynamic, .alpha = 16, .train_a = false}),
      on(at::head, train{})};
};

// LoRA whose B learns 16 times as fast, on query and value, and the head (Hayou et al. 2024,
// arXiv:2402.12354).
struct lora_plus {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = dynamic, .alpha = 16, .b_rate = 16}),
      on(at::head, train{})};
};

// LoRA on the greatest singular values and vectors of query and value, and the head (Meng et al. 2024,
// arXiv:2404.02948).
struct pissa {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = dynamic, .alpha = 16, .init = lora_init::pissa}),
      on(at::head, train{})};
};

// LoRA on the first columns of an orthogonal basis of query and value, and the head (Büyükakyüz 2024,
// arXiv:2406.01775).
struct olora {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = dynamic, .alpha = 16, .init = lora_init::olora}),
      on(at::head, train{})};
};

// What a program has that does not know its adapters when it is compiled: every dense map and every table
// of an encoder holds a low-rank update of any rank, or nothing. Nothing else is trained, so a file
// brings its head along or leaves the base's.
struct lora_slots {
  static constexpr recipe rules{
      on(at::linear | at::pooler, lora{.rank = dynamic, .start_rank = 0, .bias = true}),
      on(at::embedding_table, lora{.rank = dynamic, .start_rank = 0})};
};
// … of a sentence encoder, which has no pooler.
struct encoder_lora_slots {
  static constexpr recipe rules{
      on(at::linear, lora{.rank = dynamic, .start_rank = 0, .bias = true}),
      on(at::embedding_table, lora{.rank = dynamic, .start_rank = 0})};
};

// QLoRA: LoRA over frozen weights of 4 bits. Dettmers et al. 2023, arXiv:2305.14314.
struct qlora {
  static constexpr recipe rules{on(at::linear, quantize{}),
                                on(at::query | at::value, lora{.rank = dynamic, .alpha = 16}),
                                on(at::head, train{})};
};

// DoRA on query and value, and the head (Liu et al. 2024, arXiv:2402.09353).
struct dora {
  static constexpr recipe rules{
      on(at::query | at::value, graft::dora{.rank = dynamic, .alpha = 16}), on(at::head, train{})};
};

// AdaLoRA on query and value, and the head (Zhang et al. 2023, arXiv:2303.10512).
struct adalora {
  static constexpr recipe rules{on(at::query | at::value, graft::adalora{}), on(at::head, train{})};
};

// VeRA on query and value, and the head (Kopiczko et al. 2024, arXiv:2310.11454).
struct vera {
  static constexpr recipe rules{on(at::query | at::value, graft::vera{}), on(at::head, train{})};
};

// Learned scales of keys, values and what goes into the feed-forward output, and the head (Liu et al.
// 2022, arXiv:2205.05638); PEFT's places.
struct ia3 {
  static constexpr recipe rules{
      on(at::key | at::value, graft::ia3{}),
      on(at::feed_forward_output, graft::ia3{.place = ia3_place::input}), on(at::head, train{})};
};

// LoReFT: edits in a learned subspace at the first three tokens, after every layer, and the head (Wu et
// al. 2024, arXiv:2404.03592).
struct loreft {
  static constexpr recipe rules{on(at::layer, reft{}), on(at::head, train{})};
};

// A bottleneck after either sub-layer (Houlsby et al. 2019, arXiv:1902.00751); as AdapterHub's
// double_seq_bn, swish between the matrices.
struct houlsby {
  static constexpr recipe rules{
      on(at::attention | at::feed_forward, bottleneck{.width = 48, .activation = activation::silu}),
      on(at::head, train{})};
};

// A bottleneck in the feed-forward join (Pfeiffer et al. 2021, arXiv:2005.00247); AdapterHub's seq_bn.
struct pfeiffer {
  static constexpr recipe rules{on(at::feed_forward_join, bottleneck{.width = 48}),
                                on(at::head, train{})};
};

// A bottleneck beside the feed-forward sub-layer, its output times 4 (He et al. 2022,
// arXiv:2110.04366); AdapterHub's par_bn.
struct parallel {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 48, .place = placement::parallel, .scale = 4}),
      on(at::head, train{})};
};

// … times a number that is learned; AdapterHub's scaled parallel.
struct scaled_parallel {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 48,
                                      .place = placement::parallel,
                                      .scaling = adapter_scaling::learned}),
      on(at::head, train{})};
};

// A bottleneck behind the feed-forward join, each of its columns times a number that is learned (Steitz &
// Roth 2024, arXiv:2406.06820); AdapterHub's AdapterPlus.
struct adapter_plus {
  static constexpr recipe rules{
      on(at::feed_forward_join, bottleneck{.width = 8,
                                           .activation = activation::gelu,
                                           .init = adapter_init::houlsby,
                                           .scaling = adapter_scaling::channel,
                                           .stochastic_depth = 0.1f,
                                           .original_ln_after = false,
                                           .residual = adapter_residual::input}),
      on(at::head, train{})};
};

// Compacter after either sub-layer (Karimi Mahabadi et al. 2021, arXiv:2106.04647).
struct compacter {
  static constexpr recipe rules{on(at::attention | at::feed_forward, graft::compacter{}),
                                on(at::head, train{})};
};

// Compacter++: in the feed-forward join alone, as AdapterHub has it.
struct compacter_plus {
  static constexpr recipe rules{on(at::feed_forward_join, graft::compacter{}),
                                on(at::head, train{})};
};

// A bottleneck around every Transformer layer:  H' = H + U(σ(D(H))).
struct skip {
  static constexpr recipe rules{
      on(at::layer, bottleneck{.width = 48, .place = placement::skip}), on(at::head, train{})};
};

// LoRA on query and value, and a Pfeiffer adapter.
struct lora_pfeiffer {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic, .alpha = 16}),
                                on(at::feed_forward_join, bottleneck{.width = 48}),
                                on(at::head, train{})};
};

// Ten virtual tokens, and the head (Lester et al. 2021, arXiv:2104.08691).
struct prompt {
  static constexpr recipe rules{on(at::word, graft::prompt{}), on(at::head, train{})};
};

// Ten virtual tokens that a small network makes, and the head (P-tuning, Liu et al. 2021,
// arXiv:2103.10385).
struct p_tuning {
  static constexpr recipe rules{on(at::word, graft::prompt{.encoder = prompt_encoder::mlp}),
                                on(at::head, train{})};
};

// Keys and values for every layer, and the head (prefix tuning, Li & Liang 2021, arXiv:2101.00190, in
// its flat form: P-tuning v2, Liu et al. 2022, arXiv:2110.07602); AdapterHub's prefix_tuning_flat.
struct prefix {
  static constexpr recipe rules{on(at::memory, graft::prefix{}), on(at::head, train{})};
};

// … which a small network makes; AdapterHub's prefix_tuning.
struct prefix_mlp {
  static constexpr recipe rules{
      on(at::memory, graft::prefix{.encoder = prompt_encoder::mlp, .hidden = 512}),
      on(at::head, train{})};
};

// Mix-and-match: a prefix that a network makes, a parallel bottleneck, and the head (He et al. 2022,
// arXiv:2110.04366).
struct mam {
  static constexpr recipe rules{
      on(at::memory, graft::prefix{.tokens = 30, .encoder = prompt_encoder::mlp, .hidden = 800}),
      on(at::feed_forward, bottleneck{.width = 48, .place = placement::parallel, .scale = 4}),
      on(at::head, train{})};
};

// A prefix, LoRA and a bottleneck in the join, each behind a gate, and the head (Mao et al. 2022,
// arXiv:2110.07577).
struct unipelt {
  static constexpr recipe rules{
      on(at::memory, graft::prefix{.tokens = 10,
                                   .encoder = prompt_encoder::mlp,
                                   .hidden = 512,
                                   .gate = prefix_gate::one}),
      on(at::query | at::value, lora{.rank = dynamic, .alpha = 16, .gating = true}),
      on(at::feed_forward_join, bottleneck{.width = 48, .gating = true}), on(at::head, train{})};
};

}  // namespace graft::strategies
