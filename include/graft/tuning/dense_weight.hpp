// SPDX-License-Identifier: MIT
// The weight and bias of a frozen affine layer for those who read them, whatever form they are in.
#pragma once

#include <graft/tuning/lora_spec.hpp>

#include <concepts>

namespace graft {

// W [out, in] for this step: a view of the layer's own, or the tensor that a layer which keeps it in
// another form (and has members dense_weight(k) and dense_bias()) makes of it.
template <frozen_affine L>
typename L::backend_type::const_view dense_weight(const L& layer, const context_t<L>&) {
  return layer.weight;
}
template <class L>
  requires requires(const L& l, const context_t<L>& k) { l.dense_weight(k); }
tensor_t<L> dense_weight(const L& layer, const context_t<L>& k) {
  return layer.dense_weight(k);
}

// b [1, out] or empty.
template <frozen_affine L>
typename L::backend_type::const_view dense_bias(const L& layer) {
  return layer.bias;
}
template <class L>
  requires requires(const L& l) { l.dense_bias(); }
typename L::backend_type::const_view dense_bias(const L& layer) {
  return layer.dense_bias();
}

// A frozen affine layer whose weight and bias can be read; frozen_affine ones can be replaced too.
template <class L>
concept readable_affine =
    dense_layer<L> && !trainable<L> && requires(const L& l, const context_t<L>& k) {
      dense_weight(l, k);
      dense_bias(l);
    };

}  // namespace graft
