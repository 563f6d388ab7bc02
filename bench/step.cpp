// SPDX-License-Identifier: MIT
// A whole training step per strategy: forward, loss, backward, clipping, AdamW; 16 × 128 tokens.
#include "support/shapes.hpp"
#include "support/trainer.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace {

using namespace graft_bench;

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
  state.counters["peak_bytes"] = bytes(last.peak_bytes);
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
  add<tunings::full>("full");
  add<tunings::head>("head");
  add<tunings::top2>("top2");
  add<tunings::bitfit>("bitfit");
  add<tunings::norms_and_biases>("norms_and_biases");
  add<tunings::lora_query_value>("lora_query_value");
  add<tunings::lora_all_linear>("lora_all_linear");
  add<tunings::houlsby>("houlsby");
  add<tunings::pfeiffer>("pfeiffer");
  add<tunings::parallel>("parallel");
  add<tunings::skip>("skip");
  add<tunings::lora_pfeiffer>("lora_pfeiffer");
  add<tunings::full_recompute>("full_recompute");
  add<tunings::lora_recompute>("lora_recompute");
  add<tunings::pfeiffer_above3>("pfeiffer_above3");
  return true;
}();

}  // namespace
