// SPDX-License-Identifier: MIT
// Where AdapterHub's adapters stand.
#pragma once

#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/recipe.hpp>

namespace graft_test {

using namespace graft;

// A decoration in every feed-forward join, and the head trained.
template <auto What>
struct in_joins {
  static constexpr recipe rules{on(at::feed_forward_join, What), on(at::head, train{})};
};

// Bottlenecks beside both sub-layers.
struct beside_both {
  static constexpr recipe rules{
      on(at::attention | at::feed_forward,
         bottleneck{.width = 6, .place = placement::parallel, .scale = 4}),
      on(at::head, train{})};
};

}  // namespace graft_test
