// SPDX-License-Identifier: MIT
// The most GFLOP/s that fused multiply-adds on registers reach on two threads, of 256 bits or, where the processor
// has them, of 512: the roof beside which speeds are put. Prints JSON.
//   graft-bench-fma-roof [THREADS]
#include "support/measure.hpp"

#include <algorithm>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr long rounds = 40'000'000;
constexpr int chains = 12;  // enough to cover the latency of two units

// Multiply-adds on `Lanes` floats at a time whose results nobody needs but the last.
#define GRAFT_BURN(name, Lanes, registers)                                                              \
  float name() {                                                                                        \
    using lanes [[gnu::vector_size(4 * Lanes)]] = float;                                                \
    lanes a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, a8{}, a9{}, a10{}, a11{};                     \
    lanes x, y;                                                                                         \
    for (int i = 0; i < Lanes; ++i) {                                                                   \
      x[i] = 0.5f;                                                                                      \
      y[i] = 1.0f;                                                                                      \
    }                                                                                                   \
    for (long r = 0; r < rounds; ++r) {                                                                 \
      a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y;                               \
      a4 = a4 * x + y, a5 = a5 * x + y, a6 = a6 * x + y, a7 = a7 * x + y;                               \
      a8 = a8 * x + y, a9 = a9 * x + y, a10 = a10 * x + y, a11 = a11 * x + y;                           \
      /* Keeps every chain in a register of its own. */                                                 \
      asm volatile("" : registers(a0), registers(a1), registers(a2), registers(a3), registers(a4));     \
      asm volatile("" : registers(a5), registers(a6), registers(a7), registers(a8), registers(a9));     \
      asm volatile("" : registers(a10), registers(a11));                                                \
    }                                                                                                   \
    const lanes sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;                      \
    return sum[0];                                                                                      \
  }

GRAFT_BURN(burn_256, 8, "+x")
#ifdef __x86_64__
[[gnu::target("avx512f")]] GRAFT_BURN(burn_512, 16, "+v")
#endif

double gflops(int threads, float (*burn)(), int lanes) {
  std::vector<std::thread> workers;
  std::vector<float> sums(static_cast<std::size_t>(threads));
  const double start = graft_bench::seconds_now();
  for (float& sum : sums)
    workers.emplace_back([&sum, burn] { sum = burn(); });
  for (std::thread& worker : workers)
    worker.join();
  const double seconds = graft_bench::seconds_now() - start;
  return std::all_of(sums.begin(), sums.end(), [](float s) { return s > 0; })
             ? threads * 2.0 * lanes * chains * rounds / seconds * 1e-9
             : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(std::stoi(argv[1]), 1) : 2;
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    best = std::max(best, gflops(threads, burn_256, 8));
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
      best = std::max(best, gflops(threads, burn_512, 16));
#endif
  }
  std::cout << "{\"threads\": " << threads << ", \"gflops\": " << best << "}\n";
}
