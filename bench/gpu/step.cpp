// SPDX-License-Identifier: MIT
// Times training steps of a classifier of two classes as graft::training takes them; a line of JSON per case.
// peers/peft_gpu.py is the counterpart. Compiled with GRAFT_BENCH_NUMBERS (float, graft::bf16, …) it computes on
// a GPU in those, else on the CPU.
//   graft-bench-gpu-step [OPTION VALUE]... TUNING:SHAPE...
//     TUNING   frozen (what LoRA needs of the base alone), lora (rank 8, query and value), head, houlsby, full
//     SHAPE    32x128: sequences × tokens; 32xsst2: sequences of the lengths in --lengths
//     --model      minilm, bert_base, tiny (random weights), or a folder         (minilm)
//     --precision  f32, bf16, f16: of those compiled                             (the first)
//     --lengths    file of lines "tokens count"
//     --warm-up    steps that are not timed                                      (10)
//     --rounds     … of --steps each, or as many as take a quarter of a second, waited for at their end; medians
//                  of them                                                       (20, 10)
//     --dropout    rate of all dropouts                                          (0)
#include "gpu/compiled.hpp"
#include "gpu/lengths.hpp"
#include "support/measure.hpp"
#include "support/shapes.hpp"

#include <graft/train/fit.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <exception>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using namespace graft_bench;
using graft::index_t;
using json = nlohmann::ordered_json;
namespace at = graft::at;

// The same way back as LoRA's on query and value of every layer, with nothing on the way.
struct frozen {
  static constexpr graft::recipe rules{
      graft::on(at::query | at::value, graft::train{graft::biases}, graft::bottom(1)),
      graft::on(at::head, graft::train{})};
};
struct lora {
  static constexpr graft::recipe rules{
      graft::on(at::query | at::value, graft::lora{.rank = 8, .alpha = 16}),
      graft::on(at::head, graft::train{})};
};

struct settings {
  std::string model = "minilm", precision, lengths;
  int warm_up = 10, rounds = 20, steps = 10;
  double dropout = 0;
  std::vector<std::string> cases;
};

struct timed_case {
  std::string tuning, shape;
  int batch = 0, length = 0;  // 0: as SST-2 has them
};

timed_case case_of(const std::string& text) {
  const std::size_t colon = text.find(':'), by = text.find('x', colon);
  if (colon == std::string::npos || by == std::string::npos)
    throw std::invalid_argument("expected TUNING:SHAPE, found " + text);
  const std::string length = text.substr(by + 1);
  return {text.substr(0, colon), text.substr(colon + 1),
          std::stoi(text.substr(colon + 1, by - colon - 1)),
          length == "sst2" ? 0 : std::stoi(length)};
}

graft::bert_config config_of(const std::string& model) {
  if (model == "minilm")
    return minilm();
  if (model == "bert_base")
    return bert_base();
  return tiny();
}

template <class Model>
Model model_of(const settings& s) {
  if (s.model == "minilm" || s.model == "bert_base" || s.model == "tiny") {
    graft::bert_config config = config_of(s.model);
    config.hidden_dropout = config.attention_dropout = config.head_dropout = s.dropout;
    return Model(config, {"no", "yes"}, 1);
  }
  graft::load_options options;
  options.labels = 2;
  options.replace_head = true;
  options.dropout = s.dropout;
  return Model::load(s.model, options);
}

graft::example_list examples_of(const settings& s, const timed_case& c, index_t vocabulary) {
  const auto count = static_cast<std::size_t>(c.batch) *
                     static_cast<std::size_t>(s.warm_up + 1 + s.rounds * s.steps);
  const auto lengths = c.length > 0 ? std::vector<int>(count, c.length)
                                    : drawn_lengths(read_lengths(s.lengths), count);
  graft::random_stream random(1);
  graft::example_list examples(count);
  for (std::size_t i = 0; i < count; ++i) {
    examples[i].label = static_cast<std::int32_t>(i % 2);
    examples[i].ids.resize(static_cast<std::size_t>(lengths[i]));
    for (std::int32_t& id : examples[i].ids)
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary)));
  }
  return examples;
}

template <class B, class Tuning>
json measured(const settings& s, const timed_case& c) {
  using model_type = graft::bert_classifier<B, Tuning>;
  const std::size_t before = begin_memory();
  auto model = model_of<model_type>(s);
  const auto examples = examples_of(s, c, model.config.vocabulary);
  graft::fit_options options;
  options.epochs = 1;
  options.batch = c.batch;
  options.method = graft::adamw{.rate = 1e-4};
  graft::training<model_type> run(model, examples, {}, options);

  for (int i = 0; i < s.warm_up; ++i)
    run.advance();
  finish<B>();
  const double began = seconds_now();
  run.advance();
  finish<B>();
  const int steps = std::clamp(static_cast<int>(0.25 / (seconds_now() - began)), 1, s.steps);
  std::vector<double> seconds;
  graft::reading loss;  // asked for in the end: asking waits
  const std::int64_t tokens_before = run.position().tokens;
  for (int r = 0; r < s.rounds; ++r) {
    const double start = seconds_now();
    for (int i = 0; i < steps; ++i)
      loss = run.advance().loss;
    finish<B>();
    seconds.push_back((seconds_now() - start) / steps);
  }
  const double tokens = static_cast<double>(run.position().tokens - tokens_before) /
                        (s.rounds * steps);  // of a step
  const double median = median_of(seconds);
  const auto [fastest, slowest] = std::minmax_element(seconds.begin(), seconds.end());
  return {{"step_seconds", median},
          {"fastest_seconds", *fastest},
          {"slowest_seconds", *slowest},
          {"tokens_per_second", tokens / median},
          {"peak_bytes", peak_memory() - before},
          {"device_used_bytes", used_memory()},
          {"trained_parameters", model.parameters.count()},
          {"loss", loss.value()}};
}

template <class B>
json measured(const settings& s, const timed_case& c) {
  if (c.tuning == "frozen")
    return measured<B, frozen>(s, c);
  if (c.tuning == "lora")
    return measured<B, lora>(s, c);
  if (c.tuning == "head")
    return measured<B, graft::strategies::head>(s, c);
  if (c.tuning == "houlsby")
    return measured<B, graft::strategies::houlsby>(s, c);
  if (c.tuning == "full")
    return measured<B, graft::strategies::full>(s, c);
  throw std::invalid_argument("expected frozen, lora, head, houlsby or full, found " + c.tuning);
}

settings settings_of(const std::vector<std::string>& words) {
  settings s;
  const std::map<std::string, std::string settings::*> texts{{"--model", &settings::model},
                                                             {"--precision", &settings::precision},
                                                             {"--lengths", &settings::lengths}};
  const std::map<std::string, int settings::*> numbers{{"--warm-up", &settings::warm_up},
                                                       {"--rounds", &settings::rounds},
                                                       {"--steps", &settings::steps}};
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string& name = words[i];
    if (!name.starts_with("--")) {
      s.cases.push_back(name);
      continue;
    }
    if (i + 1 == words.size())
      throw std::invalid_argument("expected a value behind " + name);
    const std::string& value = words[++i];
    if (const auto text = texts.find(name); text != texts.end())
      s.*text->second = value;
    else if (const auto number = numbers.find(name); number != numbers.end())
      s.*number->second = std::stoi(value);
    else if (name == "--dropout")
      s.dropout = std::stod(value);
    else
      throw std::invalid_argument("expected an option of those in bench/gpu/step.cpp, found " + name);
  }
  if (s.cases.empty() || s.rounds < 1 || s.steps < 1)
    throw std::invalid_argument("usage: graft-bench-gpu-step [OPTION VALUE]... TUNING:SHAPE...");
  return s;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    const settings s = settings_of({argv + 1, argv + argc});
    for (const std::string& text : s.cases) {
      const timed_case c = case_of(text);
      json line{{"side", "graft"}, {"model", s.model}, {"tuning", c.tuning}, {"shape", c.shape}};
      on_compiled(s.precision, [&]<class B>(const std::string& precision) {
        line["device"] = device_name();
        line["precision"] = precision;
        line.update(measured<B>(s, c));
      });
      std::cout << line.dump() << std::endl;
    }
  } catch (const std::exception& e) {
    std::cerr << "graft-bench-gpu-step: " << e.what() << "\n";
    return 1;
  }
}
