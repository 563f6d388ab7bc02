// SPDX-License-Identifier: MIT
// Freezing is a type: no gradient, and no cache but what the input's gradient needs.
#include "keeps_nothing.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include <type_traits>

using namespace graft;
using B = cpu<float>;

constexpr demand everything{true, params::all};
constexpr demand training{false, params::all};
constexpr demand biases_alone{false, params::biases};
constexpr demand input_only{true, params::none};
constexpr demand neither{false, params::none};

template <class L>
inline constexpr bool has_no_gradient = std::is_same_v<gradient_t<L>, nothing>;

// A trained layer keeps its input for its weight's gradient only.
static_assert(!has_no_gradient<linear<B>> && !keeps_nothing<cache_t<linear<B>, training>>);
static_assert(keeps_nothing<cache_t<linear<B>, biases_alone>>);
static_assert(keeps_nothing<cache_t<linear<B>, input_only>>);

// A frozen affine layer keeps nothing whatever it is asked for: its input's gradient is dy W.
static_assert(has_no_gradient<frozen<linear<B>>>);
static_assert(keeps_nothing<cache_t<frozen<linear<B>>, everything>>);
static_assert(keeps_nothing<cache_t<frozen<linear<B>>, training>>);
static_assert(keeps_nothing<cache_t<frozen<linear<B>>, input_only>>);
static_assert(keeps_nothing<cache_t<frozen<linear<B>>, neither>>);

// A frozen norm keeps what its input's gradient needs, and nothing where no one asks for that.
static_assert(has_no_gradient<frozen<layer_norm<B>>>);
static_assert(!keeps_nothing<cache_t<frozen<layer_norm<B>>, everything>>);
static_assert(keeps_nothing<cache_t<frozen<layer_norm<B>>, training>>);

static_assert(has_no_gradient<frozen<embedding<B>>>);
static_assert(keeps_nothing<cache_t<frozen<embedding<B>>, everything>>);
static_assert(!keeps_nothing<cache_t<embedding<B>, training>>);

// Frozen weights may lie in a mapped file; trained ones may not.
static_assert(std::is_same_v<frozen<linear<B>>::form, linear<B, B::frozen_weight>>);
static_assert(has_no_gradient<linear<B, B::frozen_weight>>);

// Freezing twice changes nothing.
static_assert(has_no_gradient<frozen<frozen<linear<B>>>>);

// Biases alone: the mirror of the weight is `nothing`, and no input is kept.
using biased = biases_only<linear<B>>;
static_assert(std::is_same_v<decltype(gradient_t<biased>::weight), nothing>);
static_assert(!std::is_same_v<decltype(gradient_t<biased>::bias), nothing>);
static_assert(keeps_nothing<cache_t<biased, everything>>);
static_assert(keeps_nothing<cache_t<biases_only<layer_norm<B>>, training>>);
static_assert(!has_biases<embedding<B>>);

// A decoration is trained over a frozen base, and keeps nothing of its own when it is not asked to.
using low_rank = lora_layer<frozen<linear<B>>, 8>;
static_assert(std::is_same_v<decltype(gradient_t<low_rank>::base), nothing>);
static_assert(!keeps_nothing<cache_t<low_rank, training>>);
static_assert(keeps_nothing<cache_t<low_rank, input_only>>);
static_assert(keeps_nothing<cache_t<low_rank, neither>>);

// Frozen as a whole, a decorated layer is one more frozen layer.
static_assert(has_no_gradient<frozen<low_rank>>);
static_assert(keeps_nothing<cache_t<frozen<low_rank>, everything>>);

static_assert(layer<frozen<linear<B>>> && layer<biased> && layer<low_rank>);
static_assert(dense_layer<frozen<linear<B>>> && dense_layer<biased> && dense_layer<low_rank>);
static_assert(layer<frozen<layer_norm<B>>> && !dense_layer<frozen<layer_norm<B>>>);
