// SPDX-License-Identifier: MIT
// A layer with all that decorates it as one matrix, where it is one.
#pragma once

namespace graft {

// y = x Wᵀ + b, or y = W[id] of a table: W [out, in] or [entries, width], b [1, out] or empty.
template <class B>
struct dense_form {
  typename B::parameter weight, bias;
};

// Of a decoration that is an affine map or a table (it has as_dense()), or of a plain layer. What acts
// while training only (dropout) has no part in it.
template <class L>
dense_form<typename L::backend_type> dense_form_of(const L& layer) {
  using B = typename L::backend_type;
  if constexpr (requires { layer.as_dense(); }) {
    return layer.as_dense();
  } else {
    dense_form<B> d;
    d.weight = typename B::parameter(layer.weight.rows, layer.weight.cols);
    B::copy(d.weight, layer.weight);
    if constexpr (requires { layer.bias; }) {
      d.bias = typename B::parameter(layer.bias.rows, layer.bias.cols);
      B::copy(d.bias, layer.bias);
    }
    return d;
  }
}

}  // namespace graft
