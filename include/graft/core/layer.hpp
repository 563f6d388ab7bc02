// SPDX-License-Identifier: MIT
// The concept of a layer.
//
// A layer is plain public data with
//   backend_type                 where it computes
//   gradient                     mirrors its parameters, or `nothing`
//   cache<D>                     what forward keeps so that backward can answer demand D
//   parts(f, z...)               its one listing (core/parts.hpp)
//   forward<D>(x, cache, k)      -> tensor
//   backward<D>(dy, cache, g, k) -> tensor, or nothing when D.input is false
//
// forward may keep x in its cache; the tensor it returns is written into by a caller only after
// context::own. backward takes dy by value and may write into it likewise; it ADDS to *g and may
// empty the cache.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/context.hpp>
#include <graft/core/demand.hpp>
#include <graft/core/parts.hpp>

#include <concepts>
#include <type_traits>

namespace graft {

template <class L>
using tensor_t = typename L::backend_type::tensor;

template <class L>
using context_t = context<typename L::backend_type>;

namespace detail {

// Not an alias alone: g++ 12 crashes on a dependent demand in one.
template <class L, demand D>
struct cache_of {
  using type = typename L::template cache<D>;
};

}  // namespace detail

template <class L, demand D>
using cache_t = typename detail::cache_of<L, D>::type;

namespace detail {

// What a layer consists of; named apart so that a compiler's message names the missing item.
template <class L>
concept has_backend = backend<typename L::backend_type>;
template <class L>
concept has_gradient = requires { typename L::gradient; };
template <class L>
concept has_cache = requires { typename L::template cache<demand{}>; };
template <class L>
concept has_parts = lists_parts<L>;
template <class L, class X>
concept has_forward =
    requires(const L& l, const X& x, cache_t<L, demand{}>& c, const context_t<L>& k) {
      { l.template forward<demand{}>(x, c, k) } -> std::same_as<tensor_t<L>>;
    };
template <class L>
concept has_backward = requires(const L& l, tensor_t<L> dy, cache_t<L, demand{}>& c,
                                gradient_t<L>* g, const context_t<L>& k) {
  l.template backward<demand{}>(dy, c, g, k);
};
template <class L>
concept has_join = requires(const L& l, tensor_t<L> h, const tensor_t<L>& t,
                            cache_t<L, demand{}>& c, const context_t<L>& k) {
  { l.template join<demand{}>(h, t, c, k) } -> std::same_as<tensor_t<L>>;
};
template <class L>
concept has_split = requires(const L& l, tensor_t<L> dy, cache_t<L, demand{}>& c,
                             gradient_t<L>* g, const context_t<L>& k) {
  l.template split<demand{}>(dy, c, g, k);
};

}  // namespace detail

// A layer over inputs of another type than tensors: an embedding takes token ids.
template <class L, class X>
concept layer_over = detail::has_backend<L> && detail::has_gradient<L> && detail::has_cache<L> &&
                     detail::has_parts<L> && detail::has_forward<L, X> && detail::has_backward<L>;

template <class L>
concept layer = detail::has_backend<L> && detail::has_gradient<L> && detail::has_cache<L> &&
                detail::has_parts<L> && detail::has_forward<L, tensor_t<L>> &&
                detail::has_backward<L>;

// A layer whose sizes are known: [n, in] -> [n, out].
template <class L>
concept sized_layer = layer<L> && requires(const L& l) {
  { l.in() } -> std::convertible_to<index_t>;
  { l.out() } -> std::convertible_to<index_t>;
};

// An affine map, which says so with `static constexpr bool affine = true`. Its output is never in its
// cache.
template <class L>
concept dense_layer = sized_layer<L> && requires { requires L::affine; };

namespace detail {

// The base of a decorated layer that is affine where its own base is.
template <class L>
struct affine_as {};
template <dense_layer L>
struct affine_as<L> {
  static constexpr bool affine = true;
};

}  // namespace detail

// Where a sub-layer's output h meets the residual t:
//   join<D>(h, t, cache, k)      -> tensor
//   split<D>(dy, cache, g, k)    -> branches, or nothing when D.input is false
template <class J>
concept join_layer = detail::has_backend<J> && detail::has_gradient<J> && detail::has_cache<J> &&
                     detail::has_parts<J> && detail::has_join<J> && detail::has_split<J>;

// The gradients of a join's two inputs.
template <class Tensor>
struct branches {
  Tensor h, t;
};

// A layer that returns virtual_rows() rows more for every sequence, in front of the sequence's own. Once
// forward has run, rows(cache) says how the rows it returned fall into sequences.
template <class L>
concept lengthens = requires(const L& l) {
  { l.virtual_rows() } -> std::convertible_to<index_t>;
};

// How the rows that a layer returned fall into sequences, `before` being what it was given.
template <class L, class Cache>
const layout& rows_after(const L&, [[maybe_unused]] const Cache& cache,
                         [[maybe_unused]] const layout& before) {
  if constexpr (lengthens<L>)
    return L::rows(cache);
  else
    return before;
}

// What stands between the projections of attention and their product; it may hand on more keys and
// values than there are queries:
//   extend<D>(keys and values, x, cache, k)   -> attended<tensor>, x being attention's input
//   key_rows(cache, k)                        -> how those fall into sequences
//   retract<D>(their gradients, cache, g, k)  -> the gradients of what extend was given; what flows into
//                                                x is added to .x, which may be empty
template <class Tensor>
struct attended {
  Tensor keys, values, x{};
};

namespace detail {

template <class M>
concept has_extend = requires(const M& m, attended<tensor_t<M>> kv, const tensor_t<M>& x,
                              cache_t<M, demand{}>& c, const context_t<M>& k) {
  { m.template extend<demand{}>(kv, x, c, k) } -> std::same_as<attended<tensor_t<M>>>;
  { m.key_rows(c, k) } -> std::same_as<const layout&>;
};
template <class M>
concept has_retract = requires(const M& m, attended<tensor_t<M>> d, cache_t<M, demand{}>& c,
                               gradient_t<M>* g, const context_t<M>& k) {
  { m.template retract<demand{}>(d, c, g, k) } -> std::same_as<attended<tensor_t<M>>>;
};

}  // namespace detail

template <class M>
concept memory_layer = detail::has_backend<M> && detail::has_gradient<M> && detail::has_cache<M> &&
                       detail::has_parts<M> && detail::has_extend<M> && detail::has_retract<M>;

// Layers whose bias can be trained alone name the gradient of that.
template <class L>
concept has_biases = requires { typename L::bias_gradient; };

// The gradient of a part, to be handed to its backward: g->*member, or a null pointer when nothing of
// the whole is trained.
template <demand D, class G, class Whole, class Part>
constexpr auto part(G* g, Part Whole::* member) {
  if constexpr (D.trains() && !std::is_same_v<G, nothing> && !std::is_same_v<Part, nothing>)
    return &(g->*member);
  else
    return static_cast<nothing*>(nullptr);
}

}  // namespace graft
