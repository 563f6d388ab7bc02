// SPDX-License-Identifier: MIT
// Whole epochs after the first, with what the frozen part makes of the examples kept, and without; sentences
// of the lengths of SST-2's, dropout off.
#include "support/measure.hpp"
#include "support/shapes.hpp"

#include "gpu/lengths.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/training.hpp>
#include <graft/tuning/lora.hpp>

#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace {

using namespace graft_bench;
using B = graft::cpu<float>;
using graft::on;
using graft::recipe;

struct top1 {
  static constexpr recipe rules{on(graft::at::layer, graft::train{}, graft::top(1)),
                                on(graft::at::head, graft::train{})};
};
struct top2 {
  static constexpr recipe rules{on(graft::at::layer, graft::train{}, graft::top(2)),
                                on(graft::at::head, graft::train{})};
};
struct head {
  static constexpr recipe rules{on(graft::at::head, graft::train{})};
};
struct lora_top1 {
  static constexpr recipe rules{on(graft::at::query | graft::at::value,
                                   graft::lora{.rank = 8, .alpha = 16}, graft::top(1)),
                                on(graft::at::head, graft::train{})};
};

constexpr std::size_t sentences = 1024;

graft::example_list random_sentences(graft::index_t vocabulary) {
  graft::random_stream random(1);
  graft::example_list data;
  for (const int length : drawn_lengths(read_lengths(GRAFT_SST2_LENGTHS), sentences)) {
    graft::example e;
    for (int t = 0; t < length; ++t)
      e.ids.push_back(
          static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
    e.label = static_cast<std::int32_t>(data.size() % 2);
    data.push_back(std::move(e));
  }
  return data;
}

// A training without end.
template <class T>
class endless {
 public:
  endless(const graft::bert_config& config, const graft::example_list& data, std::size_t budget)
      : model_(config, {"no", "yes"}), training_(model_, data, {}, options(budget)) {}

  // Seconds of the next epoch.
  double epoch() {
    const double start = seconds_now();
    while (!training_.advance().dev)
      ;
    return seconds_now() - start;
  }
  graft::kept_report kept() { return training_.finish().kept; }

 private:
  static graft::fit_options options(std::size_t budget) {
    graft::fit_options o;
    o.epochs = std::numeric_limits<int>::max();
    o.batch = 32;
    o.method = graft::adamw{.rate = 1e-5};
    o.keep_frozen = budget;
    return o;
  }
  graft::bert_classifier<B, T> model_;
  graft::training<graft::bert_classifier<B, T>> training_;
};

// In turns with and without: other work disturbs both alike.
template <class T>
void epochs(benchmark::State& state, graft::bert_config config) {
  config.hidden_dropout = config.attention_dropout = config.head_dropout = 0;
  const graft::example_list data = random_sentences(config.vocabulary);
  double tokens = 0;
  for (const graft::example& e : data)
    tokens += static_cast<double>(e.ids.size());
  endless<T> without(config, data, 0), with(config, data, std::size_t{4} << 30);
  const double first_without = without.epoch(), first_with = with.epoch();
  std::vector<double> computed, kept;
  for (auto _ : state) {
    computed.push_back(without.epoch());
    kept.push_back(with.epoch());
    state.SetIterationTime(kept.back());
  }
  state.counters["tokens/s"] = tokens / median_of(kept);
  state.counters["tokens/s_without"] = tokens / median_of(computed);
  state.counters["gain"] = median_of(computed) / median_of(kept);
  state.counters["first_epoch"] = first_with / first_without;
  state.counters["kept_bytes"] = static_cast<double>(with.kept().bytes);
}

template <class T>
void add(const std::string& strategy) {
  benchmark::RegisterBenchmark(("minilm/" + strategy).c_str(), epochs<T>, minilm())
      ->Unit(benchmark::kMillisecond)
      ->UseManualTime();
}

[[maybe_unused]] const bool added = [] {
  add<top1>("top1");
  add<top2>("top2");
  add<lora_top1>("lora_top1");
  add<head>("head");
  return true;
}();

}  // namespace
