// SPDX-License-Identifier: MIT
// What a tuned BERT consists of: below the lowest trained layer neither caches nor gradients exist.
#include "keeps_nothing.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <tuple>
#include <type_traits>

using namespace graft;
using B = cpu<float>;

template <class Tuning>
using network = bert_classifier_network<B, Tuning>;
template <class Tuning>
using stack_of = typename bert<B, Tuning>::stack_type;
template <class Tuning>
using embeddings_of = typename bert<B, Tuning>::embeddings_type;

// What the layers of run R keep, and its lowest layer where that is asked for less.
template <class Tuning, demand D, int R>
using kept_above = typename decltype(stack_of<Tuning>::template run_cache<D, R>::above)::value_type;
template <class Tuning, demand D, int R>
using kept_at_floor = decltype(stack_of<Tuning>::template run_cache<D, R>::floor);

template <class Tuning, int R>
inline constexpr bool frozen_run =
    std::is_same_v<gradient_t<typename stack_of<Tuning>::template block<R>>, nothing>;

// ---- nothing trained ----------------------------------------------------------------------------
static_assert(std::is_same_v<gradient_t<network<untuned>>, nothing>);
static_assert(stack_of<untuned>::runs == 1 && frozen_run<untuned, 0>);
static_assert(keeps_nothing<kept_above<untuned, training_demand, 0>>);
static_assert(keeps_nothing<cache_t<embeddings_of<untuned>, training_demand>>);

// ---- adapters in the top layers only ------------------------------------------------------------
struct top_two {
  static constexpr recipe rules{on(at::query | at::value, lora{}, top(2)), on(at::head, train{})};
};
static_assert(stack_of<top_two>::runs == 2);
static_assert(frozen_run<top_two, 0> && !frozen_run<top_two, 1>);
static_assert(keeps_nothing<kept_above<top_two, training_demand, 0>>);
static_assert(!keeps_nothing<kept_above<top_two, training_demand, 1>>);
static_assert(keeps_nothing<cache_t<embeddings_of<top_two>, training_demand>>);
static_assert(std::is_same_v<gradient_t<embeddings_of<top_two>>, nothing>);
static_assert(std::is_same_v<decltype(gradient_t<network<top_two>>::pooler), nothing>);
static_assert(!std::is_same_v<decltype(gradient_t<network<top_two>>::head), nothing>);

// The lowest trained layer is asked for no input gradient, those above it are; one type for all.
static_assert(stack_of<top_two>::of_run<training_demand, 0> == training_demand);
static_assert(stack_of<top_two>::of_run<training_demand, 1> == demand{});
static_assert(!stack_of<top_two>::has_floor<training_demand, 0>);
static_assert(stack_of<top_two>::has_floor<training_demand, 1>);
static_assert(std::is_same_v<kept_at_floor<top_two, training_demand, 0>, nothing>);
using top_block = stack_of<top_two>::block<1>;
static_assert(std::is_same_v<kept_at_floor<top_two, training_demand, 1>,
                             cache_t<top_block, training_demand>>);
static_assert(std::tuple_size_v<decltype(stack_of<top_two>::blocks)> == 2);

// In a trained layer, what is not named stays frozen.
using top_gradient = gradient_t<top_block>;
static_assert(std::is_same_v<decltype(top_gradient::feed_forward), nothing>);
static_assert(std::is_same_v<decltype(top_gradient::attention_join), nothing>);
static_assert(std::is_same_v<decltype(decltype(top_gradient::attention)::key), nothing>);
static_assert(!std::is_same_v<decltype(decltype(top_gradient::attention)::query), nothing>);
static_assert(
    std::is_same_v<decltype(decltype(decltype(top_gradient::attention)::query)::base), nothing>);

// Predicting keeps nothing anywhere.
static_assert(keeps_nothing<kept_above<top_two, inference_demand, 0>>);
static_assert(keeps_nothing<kept_above<top_two, inference_demand, 1>>);
static_assert(keeps_nothing<cache_t<network<top_two>::head_type, inference_demand>>);

// ---- the head alone -----------------------------------------------------------------------------
struct head_only {
  static constexpr recipe rules{on(at::head, train{})};
};
static_assert(std::is_same_v<decltype(gradient_t<network<head_only>>::bert), nothing>);
static_assert(keeps_nothing<kept_above<head_only, training_demand, 0>>);
static_assert(network<head_only>::of_head<training_demand> == training_demand);

// ---- the lowest layers --------------------------------------------------------------------------
struct bottom_one {
  static constexpr recipe rules{on(at::attention_norm, train{}, bottom(1))};
};
static_assert(!frozen_run<bottom_one, 0> && frozen_run<bottom_one, 1>);
static_assert(stack_of<bottom_one>::of_run<training_demand, 1> == demand{});
static_assert(!keeps_nothing<kept_above<bottom_one, training_demand, 1>>);

// ---- everything, and biases ---------------------------------------------------------------------
struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct bitfit {
  static constexpr recipe rules{on(at::everything, train{biases})};
};
static_assert(!frozen_run<full, 0> && !frozen_run<bitfit, 0>);
static_assert(bert<B, full>::of_layers<training_demand>.input);
static_assert(!stack_of<full>::has_floor<bert<B, full>::of_layers<training_demand>, 0>);
static_assert(std::is_same_v<embeddings_of<full>::word_type, embedding<B>>);
static_assert(std::is_same_v<embeddings_of<bitfit>::word_type, frozen<embedding<B>>>);
static_assert(std::is_same_v<embeddings_of<bitfit>::norm_type, biases_only<layer_norm<B>>>);
static_assert(sizeof(kept_above<bitfit, demand{}, 0>) < sizeof(kept_above<full, demand{}, 0>));

// The widest `train` that reaches a place counts, whatever the order of the rules.
struct both {
  static constexpr recipe rules{on(at::head, train{}), on(at::everything, train{biases})};
};
static_assert(std::is_same_v<network<both>::head_base::classifier_type, linear<B>>);
static_assert(std::is_same_v<network<both>::bert_type, bert<B, both>>);
static_assert(std::is_same_v<embeddings_of<both>::norm_type, biases_only<layer_norm<B>>>);
