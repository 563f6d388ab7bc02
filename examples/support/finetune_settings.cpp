// SPDX-License-Identifier: MIT
#include "support/finetune_settings.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <utility>

namespace programs {

namespace {

std::string strategy_list() {
  std::string list = "Strategies (default learning rate):\n";
  for (const auto* s : strategies()) {
    char line[160];
    std::snprintf(line, sizeof line, "  %-15s %-50s %g\n", std::string(s->name).c_str(),
                  std::string(s->summary).c_str(), s->rate);
    list += line;
  }
  return list +
         "The head is trained in all of them; BERT's pooler only in full, top2 and, its\n"
         "bias, bitfit. --set takes any number that a strategy's decorations have; a name that\n"
         "none has is answered with those there are.";
}

// "tokens=20"
std::pair<std::string, double> name_and_value(const std::string& text) {
  const std::size_t equals = text.find('=');
  char* end = nullptr;
  const double value = equals == std::string::npos ? 0 : std::strtod(text.c_str() + equals + 1, &end);
  if (!end || end == text.c_str() + equals + 1 || *end != '\0')
    throw CLI::ValidationError("--set", "expected NAME=NUMBER, found " + text);
  return {text.substr(0, equals), value};
}

}  // namespace

void add_options(CLI::App& app, finetune_settings& s) {
  const auto file = [&](const char* name, std::string& value, const char* text) {
    return app.add_option(name, value, text)->type_name("FILE");
  };
  app.add_option("--model", s.model, "Folder of the pretrained model")
      ->required()
      ->type_name("DIR");
  file("--train", s.train, "What is trained on, in the form that --task says")->required();
  file("--dev", s.dev, "What chooses the best epoch")->required();
  file("--test", s.test, "What the best epoch is tried on");
  add_data_form(app, s.form);
  app.add_option("--strategy", s.strategy,
                 "What is trained, see below; several for some epochs each: full:1,lora:3, and with "
                 "what was trained put into the weights between: lora:2,merge,lora:2")
      ->required()
      ->type_name("NAME[:EPOCHS],...");
  app.add_option("--out", s.out, "Folder for the trained part")->required()->type_name("DIR");
  file("--json", s.json_file, "File for the results");
  file("--log", s.log_file,
       "File for a line of JSON per step and evaluation, written as training goes on; graft-plot "
       "draws it");
  app.add_option("--tensorboard", s.tensorboard, "Folder for TensorBoard's events")
      ->type_name("DIR");
  app.add_option("--rank", s.rank, "LoRA's rank (default: 8)")->check(CLI::Range(1, 65536));
  app.add_option("--alpha", s.alpha, "LoRA's alpha (default: 16)")->check(CLI::PositiveNumber);
  app.add_option("--width", s.width, "Width of the bottlenecks (default: 48)")
      ->check(CLI::Range(1, 65536));
  app.add_option("--set", s.numbers,
                 "Another number of the strategy's decorations, such as tokens=20 (repeatable)")
      ->type_name("NAME=VALUE")
      ->take_all();
  app.add_option("--epochs", s.epochs, "Passes over the training texts")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--batch", s.batch, "Texts per step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--lr", s.rate, "Learning rate (default: the strategy's)")
      ->check(CLI::PositiveNumber);
  app.add_option("--dropout", s.dropout,
                 "Rate of all dropouts, the adapters' too (default: as config.json says for the "
                 "model, 0 for adapters)")
      ->check(CLI::Range(0.0, 0.99));
  app.add_option("--seed", s.seed, "Of initial values, order and dropout")->capture_default_str();
  app.add_option("--monitor", s.fit.monitor,
                 "The dev score that chooses the best epoch, or loss: accuracy (the default of classes), "
                 "precision, recall, f1 (of tags), matthews; pearson (of numbers), spearman; token_f1 "
                 "(of answers), token_exact_match")
      ->type_name("SCORE");
  app.add_option("--patience", s.fit.patience,
                 "Epochs without a better dev score before stopping (default: never)")
      ->check(CLI::Range(1, 1 << 20));
  const auto number = [&](const char* name, double& value, const char* text, double most) {
    app.add_option(name, value, text)->check(CLI::Range(0.0, most));
  };
  number("--min-delta", s.fit.minimum_delta, "By how much a dev score must be better", 1e300);
  number("--smoothing", s.loss.smoothing, "Share of a label given to all labels alike", 0.99);
  app.add_flag("--balance", s.balance, "Weigh rare labels more, so that all have the same say");
  number("--l2", s.fit.l2, "Pull of weights to 0 in the loss", 1e300);
  number("--l2-start", s.fit.l2_start, "Pull of weights to where they began (L2-SP)", 1e300);
  app.add_option("--layer-decay", s.fit.layer_decay,
                 "A layer's learning rate over that of the layer above it")
      ->check(CLI::Range(0.0, 1.0));
  number("--average", s.fit.average,
         "Decay of a moving average of the weights, which is evaluated and saved, such as 0.999",
         0.999999);
  app.add_option("--augment", s.augment,
                 "Change texts as they are trained on: delete:0.1, swap:0.1, mask:0.15, "
                 "synonyms:FILE:0.1 (repeatable)")
      ->type_name("STEP")
      ->take_all();
  app.add_option_function<double>(
         "--keep-frozen",
         [&s](double megabytes) { s.fit.keep_frozen = static_cast<std::size_t>(megabytes * 0x1p20); },
         "Memory for what the layers below everything trained make of the texts, which is then computed "
         "once and not in every epoch, where no dropout acts in them (--dropout 0), --augment changes no "
         "texts and there is one process without a GPU; 0: nothing is kept (default: 512)")
      ->check(CLI::Range(0.0, 0x1p40))
      ->type_name("MB");
  app.add_option("--keep-frozen-in", s.fit.keep_frozen_in, "Folder for a file with it, instead of memory")
      ->type_name("DIR");
  app.add_option("--save-every", s.snapshots.every_steps, "Steps between snapshots of the training")
      ->check(CLI::PositiveNumber);
  app.add_option("--save-minutes", s.snapshots.every_minutes, "Minutes between snapshots")
      ->check(CLI::PositiveNumber);
  app.add_option("--keep", s.snapshots.keep, "Snapshots that stay")->capture_default_str()->check(
      CLI::Range(1, 1 << 20));
  app.add_flag("--resume", s.snapshots.resume,
               "Go on from the last snapshot in --out, to the result of the run that was stopped");
  app.add_flag("--describe", s.describe, "Say how many parameters each place has and trains, and what memory a step takes");
  app.add_flag("--quiet", s.quiet, "Say nothing but warnings and errors");
  add_compute(app, s.with);
  add_threads(app);
  app.footer(strategy_list());
}

void check_numbers(const finetune_settings& s, const std::vector<stage>& stages) {
  const auto any = [&](auto has) {
    return std::any_of(stages.begin(), stages.end(),
                       [&](const stage& stage) { return stage.what->*has; });
  };
  if (!any(&strategy::has_rank) && (s.rank || s.alpha))
    throw CLI::ValidationError("--rank and --alpha", "strategy " + s.strategy + " has no LoRA");
  if (!any(&strategy::has_width) && s.width)
    throw CLI::ValidationError("--width", "strategy " + s.strategy + " has no bottleneck");
}

graft::decoration_numbers numbers_of(const finetune_settings& s, const strategy& strategy) {
  graft::decoration_numbers numbers;
  const auto set = [&](const char* name, bool has, const auto& value) {
    if (has && value)
      numbers.set(name, *value);
  };
  set("rank", strategy.has_rank, s.rank);
  set("alpha", strategy.has_rank, s.alpha);
  set("width", strategy.has_width, s.width);
  set("dropout", strategy.has_rank || strategy.has_width, s.dropout);
  for (const std::string& number : s.numbers) {
    const auto [name, value] = name_and_value(number);
    numbers.set(name, value);
  }
  return numbers;
}

}  // namespace programs
