// SPDX-License-Identifier: MIT
// The most GFLOP/s that fused multiply-adds on registers reach on two threads: the roof beside
// which speeds are put. Prints JSON.
//   graft-bench-fma-roof [THREADS]
#include "support/measure.hpp"

#include <algorithm>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

using lanes [[gnu::vector_size(32)]] = float;  // a 256-bit register

constexpr long rounds = 40'000'000;
constexpr int chains = 12;  // enough to cover the latency of two units
constexpr double flops = 2.0 * 8 * chains * rounds;

// Multiply-adds whose results nobody needs but the last.
float burn() {
  lanes a0{}, a1{}, a2{}, a3{}, a4{}, a5{}, a6{}, a7{}, a8{}, a9{}, a10{}, a11{};
  lanes x, y;
  for (int i = 0; i < 8; ++i) {
    x[i] = 0.5f;
    y[i] = 1.0f;
  }
  for (long r = 0; r < rounds; ++r) {
    a0 = a0 * x + y, a1 = a1 * x + y, a2 = a2 * x + y, a3 = a3 * x + y;
    a4 = a4 * x + y, a5 = a5 * x + y, a6 = a6 * x + y, a7 = a7 * x + y;
    a8 = a8 * x + y, a9 = a9 * x + y, a10 = a10 * x + y, a11 = a11 * x + y;
    // Keeps every chain in a register of its own.
    asm volatile("" : "+x"(a0), "+x"(a1), "+x"(a2), "+x"(a3), "+x"(a4), "+x"(a5));
    asm volatile("" : "+x"(a6), "+x"(a7), "+x"(a8), "+x"(a9), "+x"(a10), "+x"(a11));
  }
  const lanes sum = a0 + a1 + a2 + a3 + a4 + a5 + a6 + a7 + a8 + a9 + a10 + a11;
  return sum[0];
}

double gflops(int threads) {
  std::vector<std::thread> workers;
  std::vector<float> sums(static_cast<std::size_t>(threads));
  const double start = graft_bench::seconds_now();
  for (float& sum : sums)
    workers.emplace_back([&sum] { sum = burn(); });
  for (std::thread& worker : workers)
    worker.join();
  const double seconds = graft_bench::seconds_now() - start;
  return std::all_of(sums.begin(), sums.end(), [](float s) { return s > 0; })
             ? threads * flops / seconds * 1e-9
             : 0;
}

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(std::stoi(argv[1]), 1) : 2;
  double best = 0;
  for (int i = 0; i < 5; ++i)
    best = std::max(best, gflops(threads));
  std::cout << "{\"threads\": " << threads << ", \"gflops\": " << best << "}\n";
}
