// SPDX-License-Identifier: MIT
// The numbers of the first examples.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

namespace graft_test {

// 0 to n - 1.
inline std::vector<std::uint32_t> count_to(std::size_t n) {
  std::vector<std::uint32_t> all(n);
  std::iota(all.begin(), all.end(), 0u);
  return all;
}

}  // namespace graft_test
