// SPDX-License-Identifier: MIT
// Dropout whose masks are drawn again in backward.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>

#include <cstdint>
#include <span>
#include <utility>

namespace graft {

// Training: y = x ∘ mask / (1 − rate), each element kept with probability 1 − rate; else y = x.
//
// Keeps nothing. The mask follows from seed, step, place, example, token and column (core/random.hpp):
// equal for every batch layout. Srivastava et al. 2014 (JMLR 15).
template <backend B>
struct dropout {
  using backend_type = B;
  using tensor = typename B::tensor;
  using gradient = nothing;

  double rate = 0;
  std::uint32_t place = 0;

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.rate...);
    f(z.place...);
  }

  template <demand D>
  struct cache {};

  template <demand D>
  tensor forward(const tensor& x, cache<D>&, const context<B>& k) const {
    return apply(x, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>&, G*, const context<B>& k) const {
    if constexpr (D.input)
      return apply(std::move(dy), k);
    else
      return nothing{};
  }

  // x ∘ mask / (1 − rate); x itself when nothing is dropped.
  tensor apply(tensor x, const context<B>& k) const {
    if (!acts(k))
      return x;
    expect_size("dropout: rows of the batch", static_cast<index_t>(k.batch.names.size()), x.rows);
    if (x.unique()) {
      drop(x, x, k);
      return x;
    }
    tensor y = k.make(x.rows, x.cols);
    drop(y, x, k);
    return y;
  }
  bool acts(const context<B>& k) const { return k.training && rate > 0; }

 private:
  void drop(typename B::view y, typename B::const_view x, const context<B>& k) const {
    B::dropout(y, x, static_cast<typename B::scalar>(rate), k.dropout_at(place),
               std::span<const row_name>(k.batch.names));
  }
};

}  // namespace graft
