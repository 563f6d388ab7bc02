// SPDX-License-Identifier: MIT
// What the benchmarks of operations share: random operands and counters.
#pragma once

#include "support/shapes.hpp"

#include <graft/backend/cpu.hpp>

#include <benchmark/benchmark.h>

#include <cstdint>
#include <string>
#include <utility>

namespace graft_bench {

using B = graft::cpu<float>;
using graft::index_t;

// A matrix of numbers in ±1.
inline B::parameter random_matrix(index_t rows, index_t cols, std::uint64_t seed = 1) {
  B::parameter p(rows, cols);
  graft::random_stream random(seed);
  for (index_t i = 0; i < p.size(); ++i)
    p.data[i] = static_cast<float>(random.uniform(-1, 1));
  return p;
}

inline benchmark::Counter per_second(double count) {
  return benchmark::Counter(count, benchmark::Counter::kIsIterationInvariantRate);
}

// Times f. `touched` floats are read or written by one call.
template <class F>
void time_memory(benchmark::State& state, index_t items, index_t touched, const F& f) {
  f();
  for (auto _ : state) {
    f();
    benchmark::ClobberMemory();
  }
  state.counters["items/s"] = per_second(static_cast<double>(items));
  state.counters["GB/s"] = per_second(static_cast<double>(touched) * sizeof(float) * 1e-9);
}

template <class F>
void time_flops(benchmark::State& state, index_t items, double flops, const F& f) {
  f();
  for (auto _ : state) {
    f();
    benchmark::ClobberMemory();
  }
  state.counters["items/s"] = per_second(static_cast<double>(items));
  state.counters["GFLOP/s"] = per_second(flops * 1e-9);
}

// "name/size".
inline std::string sized(std::string name, index_t size) {
  name += '/';
  name += std::to_string(size);
  return name;
}

template <class... A>
void add(const std::string& name, A&&... a) {
  benchmark::RegisterBenchmark(name.c_str(), std::forward<A>(a)...)
      ->Unit(benchmark::kMicrosecond)
      ->UseRealTime();
}

}  // namespace graft_bench
