// SPDX-License-Identifier: MIT
// Columns of a tensor times numbers of their own.
#pragma once

#include <graft/core/context.hpp>

namespace graft {

// x ∘ row for every row of x [n, c], row [1, c]; in x's memory where nobody else holds it.
template <class B>
typename B::tensor times_row(typename B::tensor x, const typename B::parameter& row,
                             const context<B>& k) {
  typename B::tensor y = x.unique() ? x : k.make(x.rows, x.cols);
  B::multiply_row(y, x, row, false);
  return y;
}

}  // namespace graft
