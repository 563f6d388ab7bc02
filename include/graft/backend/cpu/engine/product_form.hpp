// SPDX-License-Identifier: MIT
// The products that the backend asks its engine for.
#pragma once

#include <graft/core/view.hpp>

namespace graft::detail {

// x wᵀ, x w and xᵀ w.
enum class product_form : unsigned char { nt, nn, tn };

// Multiplications for each element of the output.
template <class T>
index_t depth_of(product_form form, matrix_view<const T> x) {
  return form == product_form::tn ? x.rows : x.cols;
}

}  // namespace graft::detail
