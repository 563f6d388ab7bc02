// SPDX-License-Identifier: MIT
// Named tunings: the ways of fine-tuning that the field compares, each a recipe. They name sites of
// encoders with a head; ranks and widths are those of the papers and may be changed when a model is
// built (decoration_numbers).
#pragma once

#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/recipe.hpp>

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

}  // namespace graft::strategies
