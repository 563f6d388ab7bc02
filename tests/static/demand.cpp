// SPDX-License-Identifier: MIT
// What each part of a model is asked for, by formula.
#include <graft/backend/cpu.hpp>
#include <graft/model/transformer_layer.hpp>
#include <graft/tuning/lora.hpp>

using namespace graft;

constexpr demand everything{true, params::all};
constexpr demand training{false, params::all};
constexpr demand input_only{true, params::none};
constexpr demand neither{false, params::none};

static_assert(everything == demand{});
static_assert(everything.any() && training.any() && input_only.any() && !neither.any());
static_assert(everything.trains() && training.trains() && !input_only.trains() &&
              !neither.trains());
static_assert(training.at_most(params::none) == neither);
static_assert(everything.at_most(params::all) == everything);
static_assert(everything.at_most(params::biases) == demand{true, params::biases});
static_assert(neither.at_most(params::biases) == neither);
static_assert(demand{false, params::biases}.at_most(params::biases) == demand{false, params::biases});
static_assert(demand{false, params::biases}.at_most(params::none) == neither);
static_assert(training.after(true) == everything && training.after(false) == training);
static_assert(everything.after(false) == everything);

// A layer is gone back through for its input's sake, or for its own where it has something to
// train.
static_assert(reached<linear<cpu<float>>>(training) && !reached<linear<cpu<float>>>(neither));
static_assert(reached<frozen<linear<cpu<float>>>>(input_only));
static_assert(!reached<frozen<linear<cpu<float>>>>(training));

template <class Tuning>
using layer_of = transformer_layer<cpu<float>, scope<Tuning, depth{0, 0}, at::layer_t>>;

struct query_only {
  static constexpr recipe rules{on(at::query, lora{})};
};
struct feed_forward_input_only {
  static constexpr recipe rules{on(at::feed_forward_input, lora{})};
};
struct feed_forward_output_only {
  static constexpr recipe rules{on(at::feed_forward_output, lora{})};
};
struct last_norm_only {
  static constexpr recipe rules{on(at::feed_forward_norm, train{})};
};

// Everything behind the lowest trained part hands a gradient on; nothing before it does.
using low = layer_of<query_only>;
static_assert(low::of_attention_join<training> == everything);
static_assert(low::of_feed_forward<training> == everything);
static_assert(low::of_feed_forward_join<training> == everything);
static_assert(low::attention_type::passed<training>);
static_assert(low::attention_type::of_output<training> == everything);

using middle = layer_of<feed_forward_input_only>;
static_assert(middle::of_attention_join<training> == training);
static_assert(middle::of_feed_forward<training> == training);
static_assert(middle::feed_forward_type::behind<training> == everything);
static_assert(middle::of_feed_forward_join<training> == everything);
static_assert(!middle::attention_type::passed<training>);

using high = layer_of<feed_forward_output_only>;
static_assert(high::feed_forward_type::behind<training> == training);
static_assert(high::of_feed_forward_join<training> == everything);

using last = layer_of<last_norm_only>;
static_assert(last::of_attention_join<training> == training);
static_assert(last::of_feed_forward<training> == training);
static_assert(last::of_feed_forward_join<training> == training);

// A caller that wants the input's gradient gets it from a layer with nothing to train.
using bare = layer_of<untuned>;
static_assert(bare::of_feed_forward_join<input_only> == input_only);
static_assert(bare::attention_type::passed<input_only>);
static_assert(!bare::attention_type::passed<training>);
