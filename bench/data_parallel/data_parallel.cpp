// SPDX-License-Identifier: MIT
// What training in several processes costs; the first of them prints JSON.
//   mpirun … graft-bench-data-parallel sum                    a sum of 1 KB to 512 MB, seconds
//   mpirun … graft-bench-data-parallel step MODEL STRATEGY STEPS
// A step is 16 × 128 tokens in each process. MODEL: minilm, bert_base.
#include "support/measure.hpp"
#include "support/shapes.hpp"
#include "support/trainer.hpp"

#include <graft/mpi/mpi_group.hpp>

#include <algorithm>
#include <cstddef>
#include <exception>
#include <functional>
#include <iostream>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft_bench;
using nlohmann::json;

// Seconds of f, which all processes begin together and end together.
double time(graft::process_group& group, const std::function<void()>& f) {
  double nothing = 0;
  group.sum(std::span(&nothing, 1));
  const double start = seconds_now();
  f();
  group.sum(std::span(&nothing, 1));
  return seconds_now() - start;
}

// Bytes and seconds, of many sums in a row where one takes no time.
json time_sums(graft::process_group& group) {
  json found = json::array();
  constexpr std::size_t most = std::size_t{1} << 29;
  std::vector<float> values(most / sizeof(float), 0.0f);
  for (std::size_t bytes = 1024; bytes <= most; bytes *= bytes < most / 4 ? 4 : 2) {
    const std::size_t calls = std::clamp<std::size_t>((std::size_t{1} << 22) / bytes, 1, 1000);
    const auto sums = [&] {
      for (std::size_t i = 0; i < calls; ++i)
        group.sum(std::span(values.data(), bytes / sizeof(float)));
    };
    sums();
    std::vector<double> seconds;
    for (int i = 0; i < 5; ++i)
      seconds.push_back(time(group, sums) / static_cast<double>(calls));
    found.push_back({{"bytes", bytes}, {"seconds", median_of(seconds)}});
  }
  return found;
}

std::unique_ptr<trainer> trainer_named(const std::string& strategy, const graft::bert_config& c) {
  if (strategy == "full")
    return make_trainer<tunings::full>(c);
  if (strategy == "lora_query_value")
    return make_trainer<tunings::lora_query_value>(c);
  if (strategy == "pfeiffer")
    return make_trainer<tunings::pfeiffer>(c);
  if (strategy == "bitfit")
    return make_trainer<tunings::bitfit>(c);
  if (strategy == "prompt")
    return make_trainer<tunings::prompt>(c);
  throw graft::input_error("no such strategy: " + strategy);
}

json time_steps(graft::process_group& group, const std::string& model, const std::string& strategy,
                int steps) {
  const auto run = trainer_named(strategy, model == "minilm" ? minilm() : bert_base());
  trainer::measure last = run->step(&group);
  std::vector<double> seconds, sums;
  for (int i = 0; i < steps; ++i) {
    seconds.push_back(time(group, [&] { last = run->step(&group); }));
    sums.push_back(last.sum_seconds);
  }
  return {{"processes", group.size()},
          {"step_seconds", median_of(seconds)},
          {"sum_seconds", median_of(sums)},
          {"gradient_bytes", last.gradient_bytes}};
}

json measured(graft::process_group& group, const std::vector<std::string>& words) {
  if (words.size() == 1 && words[0] == "sum")
    return time_sums(group);
  if (words.size() == 4 && words[0] == "step" && (words[1] == "minilm" || words[1] == "bert_base"))
    return time_steps(group, words[1], words[2], std::max(std::stoi(words[3]), 1));
  throw graft::input_error("expected: sum, or: step minilm|bert_base STRATEGY STEPS");
}

}  // namespace

int main(int argc, char** argv) {
  const graft::mpi_session session;
  try {
    graft::mpi_group group;
    const json found = measured(group, {argv + 1, argv + argc});
    if (group.rank() == 0)
      std::cout << found << "\n";
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    session.abort(1);
  }
}
