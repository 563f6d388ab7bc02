// SPDX-License-Identifier: MIT
// A whole training step per strategy: forward, loss, backward, clipping, AdamW; 16 × 128 tokens.
#include "support/shapes.hpp"
#include "support/trainer.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace {

using namespace graft_bench;
namespace strategies = graft::strategies;

template <graft::tuning T>
void step(benchmark::State& state, const graft::bert_config& config) {
  const auto trainer = make_trainer<T>(config);
  trainer->step();
  trainer::measure last;
  for (auto _ : state)
    last = trainer->step();
  const auto per_second = [](double count) {
    return benchmark::Counter(count, benchmark::Counter::kIsIterationInvariantRate);
  };
  const auto bytes = [](std::size_t n) { return benchmark::Counter(static_cast<double>(n)); };
  state.counters["tokens/s"] = per_second(static_cast<double>(tokens));
  state.counters["GFLOP/s"] = per_second(last.flops * 1e-9);
  state.counters["GFLOP"] = last.flops * 1e-9;
  state.counters["cache_bytes"] = bytes(last.cache_bytes);
  state.counters["gradient_bytes"] = bytes(last.gradient_bytes);
  state.counters["optimizer_bytes"] = bytes(last.optimizer_bytes);
}

template <graft::tuning T>
void add(const std::string& strategy) {
  const auto add_one = [&](const std::string& model, const graft::bert_config& config) {
    benchmark::RegisterBenchmark((model + "/" + strategy).c_str(), step<T>, config)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  };
  add_one("minilm", minilm());
  add_one("bert_base", bert_base());
}

[[maybe_unused]] const bool added = [] {
  add<strategies::full>("full");
  add<strategies::head>("head");
  add<strategies::top2>("top2");
  add<strategies::bitfit>("bitfit");
  add<strategies::norms_and_biases>("norms_and_biases");
  add<strategies::lora_query_value>("lora_query_value");
  add<strategies::lora_all_linear>("lora_all_linear");
  add<strategies::houlsby>("houlsby");
  add<strategies::pfeiffer>("pfeiffer");
  add<strategies::parallel>("parallel");
  add<strategies::skip>("skip");
  add<strategies::lora_pfeiffer>("lora_pfeiffer");
  return true;
}();

}  // namespace
