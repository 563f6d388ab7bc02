// SPDX-License-Identifier: MIT
// A backend that counts the floating-point operations of the products and attentions it is asked
// for.
#pragma once

#include <graft/core/backend.hpp>

namespace graft_bench {

// A product of [n, k] and [k, m] counts 2 n k m. Attention of q query and k key rows over all heads
// counts its two products, 4 q k width; its backward the four that gradients need, 8 q k width
// (scores that are computed a second time are not counted).
template <class Base>
struct counted : Base {
  using typename Base::const_view;
  using typename Base::scalar;
  using typename Base::view;
  using typename Base::workspace;
  using call_type = graft::attention_call<scalar>;

  static inline double flops = 0;

  static void product_nt(view y, const_view x, const_view w, scalar s, bool add) {
    flops += 2.0 * static_cast<double>(y.size() * x.cols);
    Base::product_nt(y, x, w, s, add);
  }
  static void product_nn(view y, const_view x, const_view w, scalar s, bool add) {
    flops += 2.0 * static_cast<double>(y.size() * x.cols);
    Base::product_nn(y, x, w, s, add);
  }
  static void product_tn(view y, const_view x, const_view w, scalar s, bool add) {
    flops += 2.0 * static_cast<double>(y.size() * x.rows);
    Base::product_tn(y, x, w, s, add);
  }
  static void linear(view y, const_view x, const_view w, const_view b) {
    flops += 2.0 * static_cast<double>(y.size() * x.cols);
    Base::linear(y, x, w, b);
  }
  static void linear_activated(view y, view z, const_view x, const_view w, const_view b,
                               graft::activation f) {
    flops += 2.0 * static_cast<double>(z.size() * x.cols);
    Base::linear_activated(y, z, x, w, b, f);
  }
  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const call_type& call, workspace& w) {
    flops += 4 * pairs(call) * static_cast<double>(q.cols);
    Base::attention(y, logs, q, k, v, call, w);
  }
  static void attention_backward(view dq, view dk, view dv, const_view dy, const_view q,
                                 const_view k, const_view v, const_view logs, const call_type& call,
                                 workspace& w) {
    flops += 8 * pairs(call) * static_cast<double>(q.cols);
    Base::attention_backward(dq, dk, dv, dy, q, k, v, logs, call, w);
  }

 private:
  static double pairs(const call_type& call) {
    double n = 0;
    for (graft::index_t s = 0; s < call.queries->sequences(); ++s)
      n += static_cast<double>(call.queries->length(s) * call.keys->length(s));
    return n;
  }
};

}  // namespace graft_bench
