// SPDX-License-Identifier: MIT
// A layer with all that decorates it as one matrix, where it is one.
#pragma once

namespace graft {

// y = x Wᵀ + b, or y = W[id] of a table: W [out, in] or [entries, width], b [1, out] or empty.
template <class B>
struct dense_form {
  typename B::parameter weight, bias;
};

// Is a layer, with all that decorates it, one matrix?
template <class L>
concept has_dense_form = requires(const L& l) { l.as_dense(); } || requires(const L& l) { l.weight; };

// Of a decoration that is an affine map or a table (it has as_dense()), or of a plain layer. What acts
// while training only (dropout) has no part in it.
template <has_dense_form L>
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
