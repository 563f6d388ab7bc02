// SPDX-License-Identifier: MIT
// Predicting with Pfeiffer adapters of which the lowest are dropped; 16 × 128 tokens.
#include "support/shapes.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/strategies.hpp>

#include <benchmark/benchmark.h>

#include <string>

namespace {

using namespace graft_bench;
using B = graft::cpu<float>;
using model_type = graft::bert_classifier<B, graft::strategies::pfeiffer>;

void predict(benchmark::State& state, const graft::bert_config& config, graft::index_t dropped) {
  model_type model(config, {"no", "yes"});
  graft::drop_adapters(model, dropped);
  const labelled_batch batch = random_batch(config.vocabulary);
  B::workspace memory;
  const graft::context<B> k{memory, batch.tokens.rows};
  model.predict(batch.tokens, k);
  for (auto _ : state)
    benchmark::DoNotOptimize(model.predict(batch.tokens, k).data);
  state.counters["tokens/s"] = benchmark::Counter(static_cast<double>(tokens),
                                                  benchmark::Counter::kIsIterationInvariantRate);
}

[[maybe_unused]] const bool added = [] {
  const auto add = [](const std::string& model, const graft::bert_config& config) {
    for (graft::index_t dropped : {graft::index_t{0}, config.layers / 2, config.layers})
      benchmark::RegisterBenchmark((model + "/pfeiffer_dropped_" + std::to_string(dropped)).c_str(),
                                   predict, config, dropped)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  };
  add("minilm", minilm());
  add("bert_base", bert_base());
  return true;
}();

}  // namespace
