// SPDX-License-Identifier: MIT
// Trains LoRA of rank 8 on query and value over frozen weights in one format; prints the dev accuracy of the best
// epoch, the seconds and tokens of training, and the bytes of the frozen matrices, as JSON.
//   graft-bench-storage f32|bf16|int8|int8-inputs|nf4 FOLDER TRAIN.tsv DEV.tsv SEED
// (int8-inputs: inputs in 8 bits, too)
#include "support/measure.hpp"

#include <graft/cpu.hpp>
#include <graft/text/tokenizer.hpp>
#include <graft/text/tsv.hpp>
#include <graft/tuning/quantize.hpp>

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft;

constexpr lora low_rank{.rank = 8, .alpha = 16};
constexpr int epochs = 3;

struct plain {
  static constexpr recipe rules{on(at::query | at::value, low_rank), on(at::head, train{})};
};
template <number_format Format, bool Inputs = false>
struct over {
  static constexpr recipe rules{on(at::linear, quantize{.to = Format, .inputs = Inputs}),
                                on(at::query | at::value, low_rank),
                                on(at::head, train{})};
};

example_list examples_of(const std::string& path, const tokenizer& words) {
  constexpr index_t longest = 64;
  example_list all;
  for (const labelled_text& line : read_labelled(path)) {
    encoded e = words.encode(line.text, longest);
    all.push_back({.ids = std::move(e.ids), .types = std::move(e.types), .label = line.label == "1"});
  }
  return all;
}

template <class T>
nlohmann::json trained(char** given) {
  const std::string folder = given[0];
  const tokenizer words = tokenizer::load(folder);
  const example_list train = examples_of(given[1], words), dev = examples_of(given[2], words);
  const auto seed = static_cast<std::uint64_t>(std::stoi(given[3]));
  auto model = bert_classifier<cpu<float>, T>::load(folder, {.labels = 2, .seed = seed});
  std::size_t frozen = 0;
  for_each_layer(model.network, [&](const std::string&, const auto& layer) {
    if constexpr (requires { layer.weight_codes; })
      frozen += layer.weight_codes->bytes();
  });
  const double start = graft_bench::seconds_now();
  const fit_report report =
      fit(model, train, dev, {.epochs = epochs, .method = adamw{.rate = 1e-3}, .seed = seed});
  return {{"accuracy", report.best()->scores.front().second},
          {"loss", report.epochs.back().train_loss},
          {"seconds", graft_bench::seconds_now() - start},
          {"tokens", report.tokens},
          {"frozen_bytes", frozen}};
}

}  // namespace

int main(int argc, char** argv) {
  const std::string format = argc == 6 ? argv[1] : "";
  try {
    if (format == "f32")
      std::cout << trained<plain>(argv + 2) << "\n";
    else if (format == "bf16")
      std::cout << trained<over<number_format::bf16>>(argv + 2) << "\n";
    else if (format == "int8")
      std::cout << trained<over<number_format::int8>>(argv + 2) << "\n";
    else if (format == "int8-inputs")
      std::cout << trained<over<number_format::int8, true>>(argv + 2) << "\n";
    else if (format == "nf4")
      std::cout << trained<over<number_format::nf4>>(argv + 2) << "\n";
    else {
      std::cerr << "usage: graft-bench-storage f32|bf16|int8|int8-inputs|nf4 FOLDER TRAIN.tsv DEV.tsv SEED\n";
      return 2;
    }
  } catch (const std::exception& e) {
    std::cerr << "graft-bench-storage: " << e.what() << "\n";
    return 1;
  }
}
