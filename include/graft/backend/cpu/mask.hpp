// SPDX-License-Identifier: MIT
// Dropout masks of the CPU backend, many Philox counters at a time.
#pragma once

#include <graft/backend/cpu/eigen.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/random.hpp>

#include <cmath>
#include <cstdint>

namespace graft::detail {

// Draws what core/random.hpp defines, as factors: 1 / (1 - rate) where a value is kept, else 0.
template <class T>
class dropper {
 public:
  dropper(T rate, dropout_key key) : key_(key) {
    const double limit = std::ceil(static_cast<double>(rate) * 0x1p32);
    const bool none = limit > 0xFFFFFFFFu;
    limit_ = none ? 0xFFFFFFFFu : static_cast<std::uint32_t>(limit);
    factor_ = none ? T(0) : static_cast<T>(1.0 / (1.0 - static_cast<double>(rate)));
  }

  // The factors of columns 0 … n - 1 of the row `name`, whose first counter word begins at `base`.
  void draw(T* factors, index_t n, std::uint32_t base, row_name name) const {
    T block[words];
    for (index_t j = 0; j < n; j += words, base += counters) {
      const index_t count = std::min(words, n - j);
      draw_block(count == words ? factors + j : block, base, name);
      if (count < words)
        std::copy_n(block, count, factors + j);
    }
  }

 private:
  static constexpr unsigned counters = 32;
  static constexpr index_t words = 4 * counters;

  // Philox for neighbouring counters, in loops that compilers turn into vector instructions.
  void draw_block(T* factors, std::uint32_t base, row_name name) const {
    std::uint32_t a[counters], b[counters], c[counters], d[counters];
    for (unsigned i = 0; i < counters; ++i) {
      a[i] = base + i;
      b[i] = name.token;
      c[i] = name.example;
      d[i] = key_.place;
    }
    philox_key k = key_.key;
    for (int round = 0; round < 10; ++round) {
      constexpr std::uint32_t m = 0xD2511F53u, n = 0xCD9E8D57u;
      std::uint32_t p[counters], q[counters];
      for (unsigned i = 0; i < counters; ++i)
        p[i] = static_cast<std::uint32_t>((std::uint64_t{m} * a[i]) >> 32);
      for (unsigned i = 0; i < counters; ++i)
        q[i] = static_cast<std::uint32_t>((std::uint64_t{n} * c[i]) >> 32);
      for (unsigned i = 0; i < counters; ++i) {
        const std::uint32_t first = q[i] ^ b[i] ^ k[0], third = p[i] ^ d[i] ^ k[1];
        b[i] = n * c[i];
        d[i] = m * a[i];
        a[i] = first;
        c[i] = third;
      }
      k = {k[0] + 0x9E3779B9u, k[1] + 0xBB67AE85u};
    }
    const std::uint32_t limit = limit_;  // which no factor overlaps, for all that compilers know
    const T factor = factor_;
    for (unsigned i = 0; i < counters; ++i) {
      factors[4 * i] = a[i] >= limit ? factor : T(0);
      factors[4 * i + 1] = b[i] >= limit ? factor : T(0);
      factors[4 * i + 2] = c[i] >= limit ? factor : T(0);
      factors[4 * i + 3] = d[i] >= limit ? factor : T(0);
    }
  }

  dropout_key key_;
  std::uint32_t limit_ = 0;
  T factor_ = T(1);
};

}  // namespace graft::detail
