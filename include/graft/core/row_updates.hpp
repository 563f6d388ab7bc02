// SPDX-License-Identifier: MIT
// Low-rank updates of some rows of a batch: what lets sequences with different adapters share one
// pass through a network.
#pragma once

#include <graft/core/view.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace graft {

// y[i] += s · (x[i] Aᵀ Bᵀ + c) for the rows i = first … first + rows − 1;  A [r, in], B [out, r],
// c [1, out] or empty. `View` reads a matrix that somebody else keeps alive.
template <class View, class Scalar>
struct row_update {
  index_t first = 0;
  index_t rows = 0;
  View a, b, bias;
  Scalar scale = 1;
};

// The updates at each place of a network, by the places' numbers. No row is in two updates of one
// place; rows that are in none are as the base has them.
template <class B>
struct row_updates {
  using update = row_update<typename B::const_view, typename B::scalar>;
  std::vector<std::vector<update>> of_place;

  std::span<const update> at(std::uint32_t place) const {
    return place < of_place.size() ? std::span<const update>(of_place[place])
                                   : std::span<const update>();
  }
  // Takes all updates away. The places keep their memory.
  void clear() {
    for (std::vector<update>& updates : of_place)
      updates.clear();
  }
};

}  // namespace graft
