// SPDX-License-Identifier: MIT
// Fine-tunes a pretrained model as a classifier and writes the trained part.
#include "support/program.hpp"
#include "support/session.hpp"
#include "support/texts.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using json = nlohmann::ordered_json;

struct settings {
  std::string model, train, dev, test, strategy, out, json_file, log_file;
  std::optional<int> rank, width;
  std::optional<float> alpha;
  std::optional<double> rate, dropout;
  std::vector<std::string> numbers;
  int epochs = 3, batch = 16, max_length = 128;
  std::size_t limit = 0;
  std::uint64_t seed = 0;
  bool describe = false, quiet = false;
};

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const auto* s : programs::strategies())
    names.emplace_back(s->name);
  return names;
}

std::string strategy_list() {
  std::string list = "Strategies (default learning rate):\n";
  for (const auto* s : programs::strategies()) {
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

void add_options(CLI::App& app, settings& s) {
  const auto file = [&](const char* name, std::string& value, const char* text) {
    return app.add_option(name, value, text)->type_name("FILE");
  };
  app.add_option("--model", s.model, "Folder of the pretrained model")
      ->required()
      ->type_name("DIR");
  file("--train", s.train, "Texts to train on: lines text<TAB>label")->required();
  file("--dev", s.dev, "Texts that choose the best epoch")->required();
  file("--test", s.test, "Texts that the best epoch is tried on");
  app.add_option("--strategy", s.strategy, "What is trained, see below")
      ->required()
      ->type_name("NAME")
      ->check(CLI::IsMember(strategy_names()));
  app.add_option("--out", s.out, "Folder for the trained part")->required()->type_name("DIR");
  file("--json", s.json_file, "File for the results");
  file("--log", s.log_file, "File for a line of JSON per step, written as training goes on");
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
  app.add_option("--max-length", s.max_length, "Tokens of a text that are read")
      ->capture_default_str()
      ->check(CLI::Range(3, 1 << 20));
  app.add_option("--limit", s.limit, "Read only the first N texts of each file (default: all)");
  app.add_flag("--describe", s.describe, "Say how many parameters each place has and trains");
  app.add_flag("--quiet", s.quiet, "Say nothing but warnings and errors");
  programs::add_threads(app);
  app.footer(strategy_list());
}

// A number for a decoration that the strategy does not have is a mistake.
void check_numbers(const settings& s, const programs::strategy& strategy) {
  if (!strategy.has_rank && (s.rank || s.alpha))
    throw CLI::ValidationError("--rank and --alpha", "strategy " + s.strategy + " has no LoRA");
  if (!strategy.has_width && s.width)
    throw CLI::ValidationError("--width", "strategy " + s.strategy + " has no bottleneck");
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

graft::load_options load_options_of(const settings& s, const programs::strategy& strategy,
                                    const graft::label_set& labels) {
  graft::load_options options;
  options.label_names = labels.labels();
  options.replace_head = true;
  options.seed = s.seed;
  options.dropout = s.dropout;
  const auto set = [&](const char* name, const auto& value) {
    if (value)
      options.numbers.set(name, *value);
  };
  set("rank", s.rank);
  set("width", s.width);
  set("alpha", s.alpha);
  if (strategy.has_rank || strategy.has_width)
    set("dropout", s.dropout);
  for (const std::string& number : s.numbers) {
    const auto [name, value] = name_and_value(number);
    options.numbers.set(name, value);
  }
  return options;
}

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names)
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

std::ofstream open_log(const std::string& path) {
  std::ofstream log;
  if (!path.empty()) {
    log.open(path, std::ios::trunc);
    if (!log)
      throw graft::error(path + ": expected to write a log there, found it not writable");
  }
  return log;
}

void log_step(std::ofstream& log, const graft::fit_progress& p, double rate) {
  const json line{{"step", p.step}, {"epoch", p.epoch},
                  {"loss", p.loss}, {"gradient_norm", p.gradient_norm},
                  {"rate", rate},   {"tokens", p.tokens}};
  log << line.dump() + "\n" << std::flush;
}

std::uint64_t adapter_bytes(const std::string& folder) {
  std::uint64_t bytes = 0;
  for (const char* name : {"graft_adapter.safetensors", "graft_adapter.json"})
    bytes += std::filesystem::file_size(std::filesystem::path(folder) / name);
  return bytes;
}

void fine_tune(const CLI::App& app, const settings& s) {
  const auto& strategy = *programs::find_strategy(s.strategy);
  check_numbers(s, strategy);

  const auto train_texts = programs::read_texts(s.train, s.limit);
  const auto dev_texts = programs::read_texts(s.dev, s.limit);
  const auto test_texts =
      s.test.empty() ? std::vector<graft::labelled_text>{} : programs::read_texts(s.test, s.limit);
  const graft::label_set labels(train_texts);
  if (labels.size() < 2)
    throw graft::input_error(s.train + ": expected at least 2 different labels, found 1");

  const auto session = strategy.start(s.model, load_options_of(s, strategy, labels));
  const auto base = graft::identify_base(s.model);
  auto encoder = programs::text_encoder::open(s.model, session->config(), session->longest(), s.max_length);
  const auto train = programs::encode(train_texts, labels, s.train, encoder);
  const auto dev = programs::encode(dev_texts, labels, s.dev, encoder);
  const auto test = programs::encode(test_texts, labels, s.test, encoder);
  if (const auto warning = encoder.warning(); !warning.empty())
    programs::say(app, "warning: " + warning);
  if (!s.quiet)
    programs::say(app, "freshly initialised: " + listed(session->loaded.fresh));
  if (s.describe)
    std::cerr << session->describe();

  // What cannot be written later is found out now.
  programs::expect_writable(s.json_file);
  graft::create_folder(s.out);
  programs::expect_writable(s.out + "/graft_adapter.json");
  std::ofstream log = open_log(s.log_file);

  const double rate = s.rate.value_or(strategy.rate);
  graft::fit_options options;
  options.epochs = s.epochs;
  options.batch = s.batch;
  options.method = graft::adamw{.rate = rate};
  options.seed = s.seed;
  programs::progress_line progress(s.quiet);
  const programs::stopwatch watch;
  const auto report = session->fit(train, dev, options, [&](const graft::fit_progress& p) {
    if (p.dev == nullptr && log.is_open())
      log_step(log, p, rate * p.rate_factor);
    if (p.dev != nullptr) {
      progress.clear();
      if (!s.quiet)
        std::cerr << "epoch " << p.epoch << ": dev loss " << p.dev->loss << ", accuracy "
                  << p.dev->accuracy << ", F1 " << p.dev->f1 << '\n';
    } else if (progress.due()) {
      progress.show(programs::training_text({p.epoch, s.epochs, p.step, p.steps, p.loss, p.tokens},
                                            watch.seconds()));
    }
  });
  const double seconds = watch.seconds();
  progress.clear();
  if (log.is_open() && !log.good())
    throw graft::error(s.log_file + ": expected to write the log, found the disk full");

  session->save(s.out, base, strategy.name);

  const auto count = session->count();
  const auto& best = *report.best();
  json result{{"strategy", strategy.name},
              {"seed", s.seed},
              {"total_parameters", count.total},
              {"trainable_parameters", count.trained},
              {"train_seconds", seconds},
              {"tokens_per_second", static_cast<double>(report.tokens) / seconds},
              {"peak_memory_bytes", programs::peak_memory_bytes()},
              {"best_epoch", report.best_epoch},
              {"dev_loss", best.loss},
              {"dev_accuracy", best.accuracy},
              {"dev_f1", best.f1},
              {"test_loss", nullptr},
              {"test_accuracy", nullptr},
              {"test_f1", nullptr},
              {"adapter_bytes", adapter_bytes(s.out)},
              {"learning_rate", rate},
              {"steps", report.steps},
              {"gradient_bytes", report.gradient_bytes},
              {"optimizer_bytes", report.optimizer_bytes},
              {"workspace_peak_bytes", report.workspace_peak_bytes},
              {"labels", session->labels()}};
  if (!test.empty()) {
    const auto scores = session->evaluate(test);
    result["test_loss"] = scores.loss;
    result["test_accuracy"] = scores.accuracy;
    result["test_f1"] = scores.f1;
  }
  const std::string text = result.dump(2) + "\n";
  if (!s.json_file.empty())
    graft::write_atomically(s.json_file, [&](graft::output_file& out) { out.write(text); });
  if (!s.quiet)
    std::cout << strategy.name << ": " << count.trained << " of " << count.total
              << " parameters trained in " << programs::clock_text(seconds) << ", dev accuracy "
              << best.accuracy
              << (test.empty() ? "" : ", test accuracy " + result["test_accuracy"].dump())
              << ", written to " << s.out << '\n';
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Fine-tunes a pretrained BERT, RoBERTa or DistilBERT as a text classifier and writes the "
      "part "
      "that was trained. graft-predict uses it.",
      "graft-finetune");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] { fine_tune(app, s); });
}
