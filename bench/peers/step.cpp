// SPDX-License-Identifier: MIT
// Time a training step of LoRA (rank 8, query and value) on a model from a folder; prints JSON.
// peft_step.py is the counterpart.
//   graft-bench-step FOLDER [STEPS] [--dropout]
#include "support/measure.hpp"
#include "support/shapes.hpp"
#include "support/training.hpp"

#include <graft/cpu.hpp>

#include <algorithm>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft_bench;

nlohmann::json measure(const std::string& folder, int steps, bool dropout) {
  using model = graft::bert_classifier<graft::cpu<float>, graft::strategies::lora_query_value>;
  training<model> run(model::load(folder, {.labels = 2}), {.rate = 1e-4});
  const labelled_batch batch = random_batch(run.model().config.vocabulary);
  const auto step = [&] { return run.step(batch.tokens, batch.labels, dropout); };
  step();
  step();
  std::vector<double> seconds;
  double loss = 0;
  for (int i = 0; i < steps; ++i) {
    const double start = seconds_now();
    loss = step();
    seconds.push_back(seconds_now() - start);
  }
  std::sort(seconds.begin(), seconds.end());
  const double median = (seconds[seconds.size() / 2] + seconds[(seconds.size() - 1) / 2]) / 2;
  const step_bytes bytes = run.bytes();
  return {{"step_seconds", median},
          {"fastest_seconds", seconds.front()},
          {"tokens_per_second", static_cast<double>(tokens) / median},
          {"peak_bytes", peak_bytes()},
          {"trained_parameters", run.model().parameters.count()},
          {"cache_bytes", bytes.cache},
          {"gradient_bytes", bytes.gradient},
          {"optimizer_bytes", bytes.optimizer},
          {"loss", loss}};
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  const bool dropout = std::erase(words, "--dropout") > 0;
  if (words.empty() || words.size() > 2) {
    std::cerr << "usage: graft-bench-step FOLDER [STEPS] [--dropout]\n";
    return 2;
  }
  try {
    const int steps = words.size() > 1 ? std::max(std::stoi(words[1]), 1) : 10;
    std::cout << measure(words[0], steps, dropout) << "\n";
  } catch (const std::exception& e) {
    std::cerr << e.what() << "\n";
    return 1;
  }
}
