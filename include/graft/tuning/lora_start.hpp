// SPDX-License-Identifier: MIT
// What low-rank factors start from: a seed, or the weight that they are taken out of.
#pragma once

#include <graft/core/random.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace graft {

// A [r, in] uniform in ±1/√in.
template <class B>
void draw_lora_a(typename B::parameter& a, random_stream& random) {
  const double bound = 1 / std::sqrt(static_cast<double>(a.cols));
  set_values<B>(a, [&] { return random.uniform(-bound, bound); });
}

// A [r, in] and B [out, r] as they were taken, so that a file can say what training made of W.
template <class Backend>
struct lora_factors {
  using B = Backend;
  using parameter = typename B::parameter;
  using view = typename B::view;

  parameter a, b;

  // pissa: A = √(S/s) Vᵀ, B = U √(S/s) over the r greatest singular values, so that s B A is W's best
  // approximation of rank r. olora: A = R's first rows, B = Q's first columns.
  template <lora_init How>
  static lora_factors of(typename B::const_view w, index_t r, typename B::scalar s) {
    lora_factors f{parameter(r, w.cols), parameter(w.rows, r)};
    if constexpr (How == lora_init::pissa) {
      parameter values(1, r);
      B::svd(f.b, values, f.a, w);
      const auto lengths = B::on_host(values);
      for (index_t i = 0; i < r; ++i) {
        const auto root = std::sqrt(lengths[static_cast<std::size_t>(i)] / s);
        B::scale(view(f.a).rows_of(i, 1), root);
        B::scale(view(f.b).columns(i, 1), root);
      }
    } else {
      B::qr(f.b, f.a, w);
    }
    return f;
  }

  // [now; a], [2 r, in].
  parameter above(const parameter& now) const {
    parameter both(now.rows + a.rows, now.cols);
    B::copy(view(both).rows_of(0, now.rows), now);
    B::copy(view(both).rows_of(now.rows, a.rows), a);
    return both;
  }
  // [now, -b], [out, 2 r].
  parameter beside(const parameter& now) const {
    parameter both(now.rows, now.cols + b.cols);
    B::copy(view(both).columns(0, now.cols), now);
    const view right = view(both).columns(now.cols, b.cols);
    B::copy(right, b);
    B::scale(right, -1);
    return both;
  }
};

}  // namespace graft
