// SPDX-License-Identifier: MIT
// Stochastic depth: a branch that training sometimes leaves out.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>

#include <cstdint>
#include <span>
#include <utility>

namespace graft {

// Training: the rows of a sequence are all divided by 1 − rate, or all zero with probability rate.
//
// Keeps nothing: a sequence's lot is drawn again in backward, by its example and the token of its
// first row. Huang et al. 2016, arXiv:1603.09382.
template <backend B>
struct drop_path {
  using backend_type = B;
  using tensor = typename B::tensor;

  double rate = 0;
  std::uint32_t place = 0;

  bool acts(const context<B>& k) const { return k.training && rate > 0; }

  tensor apply(tensor x, const context<B>& k) const {
    if (!acts(k))
      return x;
    expect_size("drop_path: rows of the batch", k.batch.rows(), x.rows);
    tensor lots = k.make(k.batch.sequences(), 1);
    B::fill(lots, 1);
    for (index_t s = 0; s < k.batch.sequences(); ++s)
      if (k.batch.length(s) > 0)
        B::dropout(lots.rows_of(s, 1), lots.rows_of(s, 1), static_cast<typename B::scalar>(rate),
                   k.dropout_at(place),
                   std::span(k.batch.names).subspan(static_cast<std::size_t>(k.batch.first(s)), 1));
    x = k.own(std::move(x));
    B::scale_sequences(x, x, lots, k.batch);
    return x;
  }
};

}  // namespace graft
