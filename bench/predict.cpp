// SPDX-License-Identifier: MIT
// Predicting with Pfeiffer adapters of which the lowest are dropped; 16 × 128 tokens.
#include "support/measure.hpp"
#include "support/shapes.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/strategies.hpp>

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

namespace {

using namespace graft_bench;
using B = graft::cpu<float>;
using model_type = graft::bert_classifier<B, graft::strategies::pfeiffer>;

// In turns with all adapters and without the lowest: other work disturbs both alike.
void predict(benchmark::State& state, const graft::bert_config& config, graft::index_t dropped) {
  model_type model(config, {"no", "yes"});
  const labelled_batch batch = random_batch(config.vocabulary);
  B::workspace memory;
  const graft::context<B> k{memory, batch.tokens.rows};
  const auto seconds = [&](graft::index_t lowest) {
    graft::drop_adapters(model, lowest);
    const double start = seconds_now();
    benchmark::DoNotOptimize(model.predict(batch.tokens, k).data);
    return seconds_now() - start;
  };
  seconds(0);
  std::vector<double> all, fewer;
  for (auto _ : state) {
    all.push_back(seconds(0));
    fewer.push_back(seconds(dropped));
    state.SetIterationTime(fewer.back());
  }
  state.counters["all_seconds"] = median_of(all);
  state.counters["fewer_seconds"] = median_of(fewer);
  state.counters["gain"] = median_of(all) / median_of(fewer);
}

[[maybe_unused]] const bool added = [] {
  const auto add = [](const std::string& model, const graft::bert_config& config) {
    for (graft::index_t dropped : {config.layers / 2, config.layers})
      benchmark::RegisterBenchmark((model + "/pfeiffer_dropped_" + std::to_string(dropped)).c_str(),
                                   predict, config, dropped)
          ->Unit(benchmark::kMillisecond)
          ->UseManualTime();
  };
  add("minilm", minilm());
  add("bert_base", bert_base());
  return true;
}();

}  // namespace
