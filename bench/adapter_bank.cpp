// SPDX-License-Identifier: MIT
// One adapter per sequence against one for all: 64 sequences of 64 tokens, LoRA on query and value;
// and what a base in a file takes of the memory of two processes (GRAFT_MODEL names its folder).
#include "support/measure.hpp"
#include "support/shapes.hpp"

#include <graft/backend/cpu.hpp>
#include <graft/io/adapter_bank.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>

#include <benchmark/benchmark.h>

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <numeric>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace graft_bench;
using graft::index_t;
using B = graft::cpu<float>;
using bank_type = graft::adapter_bank<B>;
using handle = bank_type::handle;

constexpr std::size_t texts = 64, text_length = 64, adapters = 512;
constexpr std::array<int, 4> ranks{4, 8, 16, 32};

struct one_lora {
  static constexpr graft::recipe rules{
      graft::on(graft::at::query | graft::at::value, graft::lora{.rank = 16})};
};

graft::stored_matrix random_matrix(graft::random_stream& random, index_t rows, index_t cols) {
  auto m = graft::make_matrix<float>(rows, cols);
  std::generate_n(m.values, rows * cols,
                  [&] { return static_cast<float>(random.uniform(-0.02, 0.02)); });
  return m.matrix;
}

// LoRA on query and value, with a head of its own.
graft::adapter_data adapter_of(int rank, const graft::bert_config& c) {
  graft::random_stream random(static_cast<std::uint64_t>(rank));
  graft::adapter_data data;
  for (index_t layer = 0; layer < c.layers; ++layer)
    for (const char* map : {"query", "value"}) {
      const std::string path = "layer." + std::to_string(layer) + ".attention." + map;
      data.decorations[path]["lora"].numbers = {{"rank", static_cast<double>(rank)}, {"alpha", 16}};
      data.tensors[path + ".lora.a"] = random_matrix(random, rank, c.width);
      data.tensors[path + ".lora.b"] = random_matrix(random, c.width, rank);
    }
  data.tensors["head.classifier.weight"] = random_matrix(random, 2, c.width);
  data.tensors["head.classifier.bias"] = random_matrix(random, 1, 2);
  return data;
}

graft::example_list random_texts(index_t vocabulary) {
  graft::random_stream random(1);
  graft::example_list all(texts);
  for (graft::example& e : all)
    for (std::size_t t = 0; t < text_length; ++t)
      e.ids.push_back(
          static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary))));
  return all;
}

// In turns, beginning with another each round: other work disturbs all alike.
//   plain          a model with one LoRA of rank 16, no bank
//   one            the bank, one adapter of rank 16 for all
//   eight          8 of it, each for 8 sequences
//   per_sequence   64, each for one sequence
//   of_512         64 of 512, drawn anew each round
void tokens_per_second(benchmark::State& state, const graft::bert_config& c) {
  bank_type bank(bank_type::model_type(c, {"no", "yes"}));
  std::vector<handle> all;
  const handle rank_16 = bank.load("one", adapter_of(16, c));
  for (const int rank : ranks) {
    const graft::adapter_data data = adapter_of(rank, c);
    for (std::size_t i = 0; i < adapters / ranks.size(); ++i)
      all.push_back(bank.load(std::to_string(rank) + "/" + std::to_string(i), data));
  }
  const graft::example_list examples = random_texts(c.vocabulary);
  graft::random_stream random(2);
  std::vector<std::uint32_t> order = graft::shuffled(adapters, random);

  const graft::bert_classifier<B, one_lora> plain(c, {"no", "yes"});
  graft::token_batch batch;
  std::vector<std::uint32_t> every(texts);
  std::iota(every.begin(), every.end(), 0u);
  graft::pack(examples, every, 0, batch);
  B::workspace memory;

  // The k-th of those that `order` begins with, a fixed draw of mixed ranks.
  const std::vector<std::uint32_t> fixed = order;
  const auto among = [&](const std::vector<std::uint32_t>& drawn, std::size_t count) {
    std::vector<handle> under;
    for (std::size_t s = 0; s < texts; ++s)
      under.push_back(all[drawn[s % count]]);
    return under;
  };
  const auto predict = [&](const std::vector<handle>& under) {
    benchmark::DoNotOptimize(bank.predict(examples, under).data());
  };
  const std::array<std::pair<const char*, std::function<void()>>, 5> modes{{
      {"plain",
       [&] {
         benchmark::DoNotOptimize(plain.predict(batch, graft::context<B>{memory, batch.rows}).data);
       }},
      {"one", [&] { predict(std::vector<handle>(texts, rank_16)); }},
      {"eight", [&] { predict(among(fixed, 8)); }},
      {"per_sequence", [&] { predict(among(fixed, texts)); }},
      {"of_512", [&] { predict(among(order, texts)); }},
  }};
  for (const auto& mode : modes)
    mode.second();
  std::array<std::vector<double>, 5> seconds;
  std::size_t round = 0;
  for (auto _ : state) {
    order = graft::shuffled(adapters, random);
    double sum = 0;
    for (std::size_t i = 0; i < modes.size(); ++i) {
      const std::size_t m = (round + i) % modes.size();
      const double start = seconds_now();
      modes[m].second();
      seconds[m].push_back(seconds_now() - start);
      sum += seconds[m].back();
    }
    ++round;
    state.SetIterationTime(sum);
  }
  const double of_one = median_of(seconds[1]);
  for (std::size_t m = 0; m < modes.size(); ++m) {
    const std::string name = modes[m].first;
    state.counters[name + "_tokens/s"] = texts * text_length / median_of(seconds[m]);
    state.counters[name + "_of_one"] = of_one / median_of(seconds[m]);
  }
}

// Bytes of this process's mapping of a file: resident, its share of those that processes have in
// common, and those that it alone has changed.
struct mapped_bytes {
  double resident = 0, share = 0, changed = 0;
};
mapped_bytes mapping_of(const std::string& file) {
  std::ifstream smaps("/proc/self/smaps");
  mapped_bytes found;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    std::istringstream words(line);
    std::string key;
    double kibibytes = 0;
    words >> key;
    if (!key.ends_with(":"))
      inside = line.ends_with(file);
    else if (inside && words >> kibibytes)
      for (const auto& [name, to] : {std::pair{"Rss:", &found.resident},
                                     {"Pss:", &found.share},
                                     {"Private_Dirty:", &found.changed}})
        if (key == name)
          *to += 1024 * kibibytes;
  }
  return found;
}

// A second process opens the same base; both predict, so that every page but those of unused words
// is in memory.
void memory_of_two(benchmark::State& state, const std::string& folder) {
  std::array<int, 2> go{}, ready{};
  char byte = 0;
  const auto open_and_predict = [&] {
    auto bank = std::make_unique<bank_type>(folder);
    const auto h = bank->load("one", adapter_of(16, bank->base().config));
    bank->predict(random_texts(bank->base().config.vocabulary), std::vector<handle>(texts, h));
    return bank;
  };
  for (auto _ : state) {
    if (pipe(go.data()) != 0 || pipe(ready.data()) != 0)
      return state.SkipWithError("pipe");
    const pid_t other = fork();  // before this process has threads: it is the first that is run
    if (other == 0) {
      close(go[1]);
      if (read(go[0], &byte, 1) == 1) {
        const auto bank = open_and_predict();
        if (write(ready[1], &byte, 1) == 1)
          while (read(go[0], &byte, 1) > 0) {
          }
      }
      _exit(0);
    }
    const auto bank = open_and_predict();
    const mapped_bytes alone = mapping_of("/model.safetensors");
    const bool both = other > 0 && write(go[1], &byte, 1) == 1 && read(ready[0], &byte, 1) == 1;
    const mapped_bytes shared = mapping_of("/model.safetensors");
    for (const int end : {go[0], go[1], ready[0], ready[1]})
      close(end);
    waitpid(other, nullptr, 0);
    if (!both)
      return state.SkipWithError("the other process");
    state.counters["resident_bytes"] = shared.resident;
    state.counters["share_bytes_of_one"] = alone.share;
    state.counters["share_bytes_of_two"] = shared.share;
    state.counters["changed_bytes"] = shared.changed;
  }
}

[[maybe_unused]] const bool added = [] {
  if (const char* folder = std::getenv("GRAFT_MODEL"))
    benchmark::RegisterBenchmark("memory", memory_of_two, std::string(folder))->Iterations(1);
  const auto add = [](const char* model, const graft::bert_config& config, int rounds) {
    benchmark::RegisterBenchmark(model, tokens_per_second, config)
        ->Iterations(rounds)
        ->Unit(benchmark::kMillisecond)
        ->UseManualTime();
  };
  add("minilm", minilm(), 15);
  add("bert_base", bert_base(), 7);
  return true;
}();

}  // namespace
