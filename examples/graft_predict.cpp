// SPDX-License-Identifier: MIT
// Labels lines of standard input with a fine-tuned model.
#include "support/program.hpp"
#include "support/session.hpp"
#include "support/texts.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>
#include <string>
#include <vector>

namespace {

std::unique_ptr<programs::session> open_session(const std::string& model,
                                                const std::string& adapter) {
  const auto description = graft::read_adapter(adapter);
  const auto* strategy = programs::find_strategy(description.strategy);
  if (strategy == nullptr)
    throw graft::checkpoint_error(description.file +
                                  ": \"strategy\": expected one of graft-finetune's, found \"" +
                                  description.strategy + "\"");
  return strategy->resume(model, adapter);
}

// "label<TAB>probability" of the most probable label.
std::string best_line(const std::vector<float>& logits, const std::vector<std::string>& labels) {
  const auto top = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float y : logits)
    sum += std::exp(static_cast<double>(y) - static_cast<double>(*top));
  char probability[32];
  std::snprintf(probability, sizeof probability, "\t%.6f\n", 1 / sum);
  return labels[static_cast<std::size_t>(top - logits.begin())] + probability;
}

std::string logits_line(const std::vector<float>& logits) {
  std::string line;
  for (const float y : logits) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.9g", line.empty() ? "" : "\t",
                  static_cast<double>(y));
    line += number;
  }
  return line + "\n";
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Labels the lines of standard input: label<TAB>probability for each.",
               "graft-predict");
  std::string model, adapter;
  bool logits = false;
  int max_length = 128;
  app.add_option("--model", model, "Folder of the pretrained model")->required()->type_name("DIR");
  app.add_option("--adapter", adapter, "Folder that graft-finetune wrote")
      ->required()
      ->type_name("DIR");
  app.add_flag("--logits", logits,
               "Print the logits instead, separated by tabs, in the order of the labels in the "
               "adapter's graft_adapter.json");
  app.add_option("--max-length", max_length, "Tokens of a text that are read; as in training")
      ->capture_default_str()
      ->type_name("N")
      ->check(CLI::Range(3, 1 << 20));
  programs::add_threads(app);

  return programs::run(app, argc, argv, [&] {
    const auto session = open_session(model, adapter);
    auto encoder = programs::text_encoder::open(model, session->config(), session->longest(), max_length);
    programs::for_each_line(encoder, [&](std::span<const graft::example> examples) {
      for (const auto& row : session->predict(examples))
        std::cout << (logits ? logits_line(row) : best_line(row, session->labels()));
      std::cout.flush();
    });
    if (const auto warning = encoder.warning(); !warning.empty())
      programs::say(app, "warning: " + warning);
  });
}
