// SPDX-License-Identifier: MIT
// Which decoration goes around which layer: every legal pair is made and used, the others are
// refused.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/feed_forward.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/vera.hpp>

#include <tuple>
#include <type_traits>

using namespace graft;
using B = cpu<float>;

// ---- forward and backward, for every demand -----------------------------------------------------

template <demand D, layer L>
void step(const L& l, const tensor_t<L>& x, gradient_t<L>* g, const context_t<L>& k) {
  cache_t<L, D> c;
  tensor_t<L> y = l.template forward<D>(x, c, k);
  auto dx = l.template backward<D>(y, c, g, k);
  static_assert(std::is_same_v<decltype(dx), tensor_t<L>> || !D.input);
}
template <demand D, join_layer L>
void step(const L& l, const tensor_t<L>& x, gradient_t<L>* g, const context_t<L>& k) {
  cache_t<L, D> c;
  tensor_t<L> y = l.template join<D>(x, x, c, k);
  auto dx = l.template split<D>(y, c, g, k);
  static_assert(std::is_same_v<decltype(dx), branches<tensor_t<L>>> || !D.input);
}
template <class L>
void use(const L& l, const tensor_t<L>& x, gradient_t<L>* g, const context_t<L>& k) {
  step<demand{true, params::all}>(l, x, g, k);
  step<demand{true, params::biases}>(l, x, g, k);
  step<demand{true, params::none}>(l, x, g, k);
  step<demand{false, params::all}>(l, x, g, k);
  step<demand{false, params::biases}>(l, x, g, k);
  step<demand{false, params::none}>(l, x, g, k);
}
template <class... L>
struct all {
  static constexpr auto instance = std::make_tuple(&use<L>...);
};

// ---- what a pair of decorations makes of a layer ------------------------------------------------

constexpr lora low_rank{.rank = 4};
constexpr bottleneck after{.width = 8};
constexpr bottleneck before{.width = 8, .place = placement::before};
constexpr bottleneck parallel{.width = 8, .place = placement::parallel};
constexpr bottleneck skip{.width = 8, .place = placement::skip};

template <auto Spec>
using what = std::remove_const_t<decltype(Spec)>;
template <class L, auto Spec, class Site = at::query_t>
inline constexpr bool fits = detail::fits<what<Spec>, Spec, Site, L>();
template <class L, auto Spec>
using with = typename what<Spec>::template apply<L, Spec>;

using trained = linear<B>;
using kept = frozen<linear<B>>;
using biased = biases_only<linear<B>>;
using composite = feed_forward<B, scope<untuned>>;
using meeting = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;

// ---- around an affine layer: everything, and lora keeps it affine -------------------------------

template <class Base>
inline constexpr bool affine_takes_all =
    fits<Base, low_rank>&& fits<Base, after>&& fits<Base, before>&& fits<Base, parallel>;
static_assert(affine_takes_all<trained> && affine_takes_all<kept> && affine_takes_all<biased>);
static_assert(affine_takes_all<with<kept, low_rank>>);
static_assert(affine_takes_all<frozen<with<kept, low_rank>>>);
static_assert(affine_takes_all<frozen<frozen<trained>>>);

template <class Base>
using around_affine =
    all<Base, with<Base, low_rank>, with<Base, after>, with<Base, before>, with<Base, parallel>,
        frozen<with<Base, low_rank>>, frozen<with<Base, after>>,
        with<with<Base, low_rank>, low_rank>, with<with<Base, low_rank>, after>,
        with<with<Base, low_rank>, before>, with<with<Base, low_rank>, parallel>>;
[[maybe_unused]] constexpr auto over_trained = around_affine<trained>::instance;
[[maybe_unused]] constexpr auto over_frozen = around_affine<kept>::instance;
[[maybe_unused]] constexpr auto over_biases = around_affine<biased>::instance;

// ---- around a bottleneck: bottlenecks, never lora -----------------------------------------------

template <class Base>
inline constexpr bool takes_bottlenecks_only =
    !fits<Base, low_rank> && fits<Base, after> && fits<Base, before> && fits<Base, parallel>;
static_assert(takes_bottlenecks_only<with<kept, after>>);
static_assert(takes_bottlenecks_only<with<kept, before>>);
static_assert(takes_bottlenecks_only<with<kept, parallel>>);
static_assert(takes_bottlenecks_only<with<with<kept, low_rank>, after>>);

template <class Base>
using around_bottleneck = all<with<Base, after>, with<Base, before>, with<Base, parallel>>;
[[maybe_unused]] constexpr auto over_after = around_bottleneck<with<kept, after>>::instance;
[[maybe_unused]] constexpr auto over_before = around_bottleneck<with<kept, before>>::instance;
[[maybe_unused]] constexpr auto over_parallel = around_bottleneck<with<kept, parallel>>::instance;

// ---- around a layer of several: bottlenecks; skip around a Transformer layer --------------------

static_assert(takes_bottlenecks_only<composite>);
static_assert(fits<composite, skip, at::layer_t>);
static_assert(!fits<composite, skip, at::feed_forward_t> && !fits<kept, skip>);
[[maybe_unused]] constexpr auto over_composite =
    all<composite, with<composite, after>, with<composite, before>, with<composite, parallel>,
        with<composite, skip>, with<with<composite, parallel>, after>>::instance;

// ---- in a join: a bottleneck after it, any number of them ---------------------------------------

static_assert(fits<meeting, after, at::attention_join_t>);
static_assert(!fits<meeting, before> && !fits<meeting, parallel> && !fits<meeting, skip>);
static_assert(!fits<meeting, low_rank>);
static_assert(fits<with<meeting, after>, after, at::attention_join_t>);
[[maybe_unused]] constexpr auto over_join =
    all<meeting, with<meeting, after>, with<with<meeting, after>, after>>::instance;

// ---- norms and tables ---------------------------------------------------------------------------

static_assert(takes_bottlenecks_only<frozen<layer_norm<B>>>);
static_assert(fits<frozen<embedding<B>>, low_rank> && !fits<frozen<embedding<B>>, after>);
static_assert(!fits<with<frozen<embedding<B>>, low_rank>, after>);
static_assert(!fits<frozen<embedding<B>>, lora{.train_a = false}>);

// ---- what changes or reads a weight: around a frozen one only ------------------------------------

constexpr dora directions{.rank = 4};
constexpr lora taken_out{.rank = dynamic, .init = lora_init::pissa};
template <class Base>
inline constexpr bool weight_is_free = fits<Base, directions> && fits<Base, taken_out>;
static_assert(weight_is_free<kept>);
static_assert(!weight_is_free<trained> && !weight_is_free<biased> && !weight_is_free<composite>);
static_assert(!fits<with<kept, low_rank>, directions> && !fits<with<kept, low_rank>, taken_out>);
static_assert(fits<with<kept, directions>, low_rank> && fits<with<kept, directions>, after>);
[[maybe_unused]] constexpr auto over_weight =
    all<with<kept, directions>, with<kept, taken_out>, with<with<kept, directions>, low_rank>,
        with<with<kept, taken_out>, after>>::instance;

// ---- a quantised weight: read and built upon, never replaced ------------------------------------

constexpr quantize few_bits{.to = number_format::int8};
static_assert(fits<kept, few_bits> && fits<frozen<kept>, few_bits>);
static_assert(!fits<trained, few_bits> && !fits<biased, few_bits> && !fits<composite, few_bits>);
static_assert(!fits<with<kept, low_rank>, few_bits> && !fits<with<kept, few_bits>, few_bits>);
static_assert(affine_takes_all<with<kept, few_bits>> && fits<with<kept, few_bits>, directions>);
static_assert(!fits<with<kept, few_bits>, taken_out>);
constexpr quantize inputs_too{.to = number_format::int8, .inputs = true};
static_assert(fits<kept, inputs_too> && !fits<with<kept, inputs_too>, directions>);
static_assert(affine_takes_all<with<kept, inputs_too>>);
[[maybe_unused]] constexpr auto over_few_bits =
    all<with<kept, few_bits>, with<kept, quantize{}>, with<with<kept, few_bits>, low_rank>,
        with<kept, inputs_too>, with<with<kept, inputs_too>, low_rank>,
        with<with<kept, few_bits>, directions>, with<with<kept, few_bits>, after>,
        frozen<with<kept, few_bits>>>::instance;

// ---- scales and shared updates --------------------------------------------------------------------

constexpr ia3 scale{}, scale_of_input{.place = ia3_place::input};
constexpr vera shared_update{.rank = 4};
constexpr adalora budget{.rank = 4, .target_rank = 2};
template <class Base>
inline constexpr bool takes_updates = fits<Base, shared_update> && fits<Base, budget>;
static_assert(takes_updates<kept> && takes_updates<trained> && takes_updates<with<kept, low_rank>>);
static_assert(!takes_updates<composite> && !takes_updates<with<kept, after>>);
static_assert(fits<kept, scale> && fits<with<kept, after>, scale> && fits<composite, scale>);
static_assert(!fits<meeting, scale> && !fits<frozen<embedding<B>>, scale>);
static_assert(fits<with<kept, scale>, low_rank>);
[[maybe_unused]] constexpr auto scaled =
    all<with<with<kept, scale>, low_rank>, with<with<kept, low_rank>, scale_of_input>,
        with<with<kept, after>, scale>, with<composite, scale>, with<kept, shared_update>,
        with<with<kept, low_rank>, shared_update>, with<with<kept, shared_update>, budget>,
        with<with<kept, budget>, after>>::instance;

// ---- a recipe makes the same types, in the order of its rules -----------------------------------

struct ordered {
  static constexpr recipe rules{on(at::query, low_rank), on(at::query, after),
                                on(at::query, train{biases})};
};
static_assert(std::is_same_v<leaf<scope<ordered>, at::query_t, trained>,
                             with<with<biased, low_rank>, after>>);
static_assert(std::is_same_v<leaf<scope<ordered>, at::key_t, trained>, kept>);
static_assert(std::is_same_v<leaf<scope<untuned>, at::query_t, trained>, kept>);

// `train` reaches a leaf through the places around it; wrapping decorations do not.
struct enclosing {
  static constexpr recipe rules{on(at::attention, train{}), on(at::attention, parallel)};
};
using inside = scope<enclosing>::enter<at::attention_t>;
static_assert(std::is_same_v<leaf<inside, at::query_t, trained>, trained>);
static_assert(std::is_same_v<leaf<scope<enclosing>, at::query_t, trained>, kept>);
static_assert(
    std::is_same_v<node<scope<enclosing>, at::attention_t, composite>, with<composite, parallel>>);
