// SPDX-License-Identifier: MIT
// The first row of every sequence: all that a head over whole sequences reads.
#pragma once

#include <graft/core/layer.hpp>

#include <concepts>

namespace graft {

namespace detail {

template <class L>
concept has_forward_first =
    requires(const L& l, const tensor_t<L>& x, cache_t<L, demand{}>& c, const context_t<L>& k) {
      { l.template forward_first<demand{}>(x, c, k, k) } -> std::same_as<tensor_t<L>>;
    };

}  // namespace detail

// A layer that makes the first row of every sequence without the others:
//   forward_first<D>(x, cache, k, first)       -> [sequences, out], those rows of forward<D>(x, cache, k)
//   backward_first<D>(dy, cache, g, k, first)  -> what backward<D> makes of dy with zeros in the other
//                                                 rows: the gradient of all rows of x, or nothing
// x has the rows of k, dy those of `first`, which is k.with(pooled_layout of k.batch): one row a sequence,
// named after its first, so that dropout draws the same for it. A sequence without rows counts as one of
// a row of zeros that nothing is attended from.
template <class L>
concept gives_first_rows = layer<L> && detail::has_forward_first<L>;

// The first rows of x [n, c]: [sequences, c], zeros for a sequence without rows.
template <class B>
typename B::tensor first_rows(typename B::const_view x, const context<B>& k) {
  auto y = k.make(k.batch.sequences(), x.cols);
  B::pool_first(y, x, k.batch);
  return y;
}

// dy [sequences, c] at the first rows of [n, c], and zeros in the others.
template <class B>
typename B::tensor at_first_rows(typename B::const_view dy, const context<B>& k) {
  auto dx = k.make(k.batch.rows(), dy.cols);
  B::pool_first_backward(dx, dy, k.batch);
  return dx;
}

}  // namespace graft
