// SPDX-License-Identifier: MIT
// Terms of the loss that hold weights back, and rates that fall with depth.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/store.hpp>

#include <cmath>
#include <span>
#include <vector>

namespace graft {

// Adds λ/2 Σ (w − w₀)² to the loss: its slope λ (w − w₀) to the gradient, its value is returned. Over
// the segments that decay, or all when `everything`; without `start` w₀ is zero. L2-SP is this with the
// pretrained weights for w₀: Li et al. 2018, arXiv:1802.01483.
template <class B>
double add_pull(typename B::parameter& gradient, const parameter_store<B>& store,
                const typename B::parameter* start, double strength, bool everything,
                typename B::workspace& memory) {
  using scalar = typename B::scalar;
  double sum = 0;
  for (const segment& s : store.segments) {
    if (!s.decays && !everything)
      continue;
    const auto piece = [&](const typename B::parameter& of) {
      return typename B::view(of.data + s.offset, 1, s.size());
    };
    auto off = B::make_exact(memory, 1, s.size());
    B::copy(off, piece(store.values));
    if (start)
      B::add_scaled(off, piece(*start), scalar(-1));
    sum += B::squared_norm(off);
    B::add_scaled(piece(gradient), off, static_cast<scalar>(strength));
  }
  return strength / 2 * sum;
}

// What multiplies the rate of each segment of a network of `layers` layers: 1 for what stands on them,
// decay for the highest layer, decay² for the one below it, …, decay^(layers + 1) for the embeddings.
// Howard & Ruder 2018, arXiv:1801.06146; Clark et al. 2020, arXiv:2003.10555.
GRAFT_PLAIN std::vector<double> layer_rates(std::span<const segment> segments, index_t layers,
                                            double decay);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN std::vector<double> layer_rates(std::span<const segment> segments, index_t layers,
                                            double decay) {
  std::vector<double> rates;
  for (const segment& s : segments) {
    const auto layer = detail::layer_of(s.path);
    const index_t below = layer                               ? layers - *layer
                          : s.path.starts_with("embeddings.") ? layers + 1
                                                              : 0;
    rates.push_back(std::pow(decay, static_cast<double>(below)));
  }
  return rates;
}

}  // namespace graft

#endif
