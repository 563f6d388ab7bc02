// SPDX-License-Identifier: MIT
// Freezing: the same layer with nothing to train, or with its biases only.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/on_backend.hpp>

#include <utility>

namespace graft {

namespace detail {

template <class L>
struct frozen_form_of {
  using type = L;
};
template <class L>
  requires requires { typename L::frozen_form; }
struct frozen_form_of<L> {
  using type = typename L::frozen_form;
};

// A layer, over whatever inputs.
template <class L>
concept freezable = has_backend<L> && has_gradient<L> && has_cache<L> && has_parts<L> &&
                    has_backward<L>;

// L, asked for the gradients of `Most` of its parameters at most.
template <class L, enum params Most>
struct asked_for : L {
  asked_for() = default;
  explicit asked_for(L from) : L(std::move(from)) {}

  template <demand D>
  using cache = typename L::template cache<D.at_most(Most)>;

  template <demand D, class X>
    requires has_forward<L, X>
  auto forward(const X& x, cache<D>& c, const context_t<L>& k) const {
    return L::template forward<D.at_most(Most)>(x, c, k);
  }
  template <demand D, class X>
    requires requires { &L::template forward_activated<D.at_most(Most)>; }
  auto forward_activated(const X& x, activation f, X* z, cache<D>& c, const context_t<L>& k) const {
    return L::template forward_activated<D.at_most(Most)>(x, f, z, c, k);
  }
  template <demand D, class X>
    requires requires { &L::template forward_sum<D.at_most(Most)>; }
  auto forward_sum(X h, const X& t, cache<D>& c, const context_t<L>& k) const {
    return L::template forward_sum<D.at_most(Most)>(std::move(h), t, c, k);
  }
  template <demand D, class G>
  auto backward(tensor_t<L> dy, cache<D>& c, [[maybe_unused]] G* g, const context_t<L>& k) const {
    if constexpr (Most == params::none)
      return L::template backward<D.at_most(Most)>(std::move(dy), c, static_cast<nothing*>(nullptr), k);
    else
      return L::template backward<D.at_most(Most)>(std::move(dy), c, g, k);
  }
};

}  // namespace detail

// The same map, never trained: no gradient, no optimizer state, and no cache but what the gradient of
// the input needs. Same parameters under the same names; a layer that names a `frozen_form` (weights
// that may lie in a mapped file) is held in it.
template <detail::freezable L>
struct frozen : detail::asked_for<typename detail::frozen_form_of<L>::type, params::none> {
  using form = typename detail::frozen_form_of<L>::type;
  using gradient = nothing;

  frozen() = default;
  explicit frozen(L from) : detail::asked_for<form, params::none>(form(std::move(from))) {}

  template <backend To>
    requires movable_to<L, To>
  using on_backend = frozen<on_backend_t<L, To>>;
};

template <class L>
frozen(L) -> frozen<L>;

// The same layer of which only the biases are trained (BitFit, Zaken et al. 2022, arXiv:2106.10199).
template <has_biases L>
struct biases_only : detail::asked_for<L, params::biases> {
  using gradient = typename L::bias_gradient;

  biases_only() = default;
  explicit biases_only(L from) : detail::asked_for<L, params::biases>(std::move(from)) {}

  template <backend To>
    requires movable_to<L, To>
  using on_backend = biases_only<on_backend_t<L, To>>;
};

template <class L>
biases_only(L) -> biases_only<L>;

}  // namespace graft
