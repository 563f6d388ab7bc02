// SPDX-License-Identifier: MIT
// Counter-based random numbers: a value depends on its key and counter alone, never on what was drawn
// before it. Philox 4x32-10, Salmon et al. 2011 (SC '11, doi:10.1145/2063384.2063405).
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/plain.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <string_view>

namespace graft {

using philox_counter = std::array<std::uint32_t, 4>;
using philox_key = std::array<std::uint32_t, 2>;

// Ten rounds of Philox 4x32 on a counter of four numbers, under a key of two.
GRAFT_DEVICE constexpr void philox_rounds(std::uint32_t (&c)[4], std::uint32_t k0, std::uint32_t k1) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * c[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * c[2];
    c[0] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0;
    c[1] = static_cast<std::uint32_t>(p1);
    c[2] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1;
    c[3] = static_cast<std::uint32_t>(p0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Four 32-bit numbers for a counter and a key.
constexpr philox_counter philox(philox_counter c, philox_key k) {
  std::uint32_t words[4] = {c[0], c[1], c[2], c[3]};
  philox_rounds(words, k[0], k[1]);
  return {words[0], words[1], words[2], words[3]};
}

// Mixes a 64-bit number (the finaliser of SplitMix64).
constexpr std::uint64_t mix(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// A number for a name: FNV-1a, 64 bits.
constexpr std::uint64_t hash_of(std::string_view name) {
  std::uint64_t h = 0xCBF29CE484222325u;
  for (char c : name)
    h = (h ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return h;
}

constexpr philox_key key_of(std::uint64_t seed, std::uint64_t stream) {
  const std::uint64_t k = mix(seed ^ mix(stream));
  return {static_cast<std::uint32_t>(k), static_cast<std::uint32_t>(k >> 32)};
}

// A sequence of numbers from one key: for initial weights and shuffles, not for dropout.
class random_stream {
 public:
  explicit random_stream(std::uint64_t seed = 0, std::uint64_t stream = 0)
      : key_(key_of(seed, stream)) {}

  std::uint32_t bits() {
    if (used_ == 4) {
      block_ = philox({static_cast<std::uint32_t>(count_), static_cast<std::uint32_t>(count_ >> 32),
                       0u, 0u}, key_);
      ++count_;
      used_ = 0;
    }
    return block_[used_++];
  }
  // Uniform in [0, 1), 53 bits.
  double uniform() {
    const std::uint64_t high = bits() >> 5, low = bits() >> 6;
    return static_cast<double>((high << 26) | low) * 0x1p-53;
  }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }
  // Standard normal (Box-Muller).
  double normal();
  // Uniform in 0 .. n - 1 for n > 0.
  std::uint64_t below(std::uint64_t n);

 private:
  philox_key key_;
  philox_counter block_{};
  std::uint64_t count_ = 0;
  unsigned used_ = 4;
};

// Where a dropout mask comes from: seed and step of the run, and the place in the model that draws.
// Element (row, column) is kept when word column % 4 of philox({column / 4, token, example, place},
// key) is at least rate · 2³².
struct dropout_key {
  philox_key key{};
  std::uint32_t place = 0;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN double random_stream::normal() {
  const double u = 1.0 - uniform(), v = uniform();
  return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
}

GRAFT_PLAIN std::uint64_t random_stream::below(std::uint64_t n) {
  const std::uint64_t limit = ~std::uint64_t{0} - (~std::uint64_t{0} % n + 1) % n;
  for (;;) {
    const std::uint64_t x = (std::uint64_t{bits()} << 32) | bits();
    if (x <= limit)
      return x % n;
  }
}

}  // namespace graft

#endif
