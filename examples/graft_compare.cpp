// SPDX-License-Identifier: MIT
// Compares strategies on a task under one budget of epochs, or chooses one within limits of time,
// memory and size.
#include "support/amounts.hpp"
#include "support/choice.hpp"
#include "support/comparison.hpp"
#include "support/compute.hpp"
#include "support/probe.hpp"
#include "support/program.hpp"
#include "support/trial.hpp"

#include <graft/core/error.hpp>
#include <graft/io/file.hpp>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using json = nlohmann::ordered_json;

struct settings {
  std::string model, train, dev, test, out, budget, memory, adapter, threads;
  std::vector<std::string> names;
  std::optional<double> rate;
  std::uint64_t seed = 0;
  int seeds = 3, epochs = 3, batch = 16, folds = 0;
  programs::data_form form;
  programs::compute with;
  bool quiet = false;
};

std::vector<std::string> strategy_names() {
  std::vector<std::string> names;
  for (const auto* s : programs::strategies())
    names.emplace_back(s->name);
  return names;
}

void add_options(CLI::App& app, settings& s) {
  const auto file = [&](const char* name, std::string& value, const char* text) {
    return app.add_option(name, value, text)->type_name("FILE");
  };
  app.add_option("--model", s.model, "Folder of the pretrained model")
      ->required()
      ->type_name("DIR");
  file("--train", s.train, "What is trained on, in the form that --task says")->required();
  file("--dev", s.dev, "What chooses the best epoch, and with --budget the winner");
  file("--test", s.test, "What the best are tried on");
  app.add_option("--out", s.out, "Folder for the results; begun there, a comparison goes on")
      ->required()
      ->type_name("DIR");
  app.add_option("--strategies", s.names, "Those to compare (default: all)")
      ->delimiter(',')
      ->type_name("A,B,C")
      ->check(CLI::IsMember(strategy_names()));
  auto* seeds =
      app.add_option("--seeds", s.seeds, "Runs of each strategy, with seeds that count up")
          ->capture_default_str()
          ->check(CLI::Range(1, 1000));
  app.add_option("--seed", s.seed, "The first seed")->capture_default_str();
  app.add_option("--epochs", s.epochs, "Passes over the training texts; with --budget at most")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--batch", s.batch, "Texts per step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--lr", s.rate, "Learning rate of all (default: each strategy's own)")
      ->check(CLI::PositiveNumber);
  programs::add_data_form(app, s.form);
  app.add_option("--folds", s.folds,
                 "In place of --dev and --seeds: part the training file, train on all parts but one, "
                 "try the last epoch on that one, and so with each; equal texts stay together")
      ->check(CLI::Range(2, 1000))
      ->excludes("--dev")
      ->excludes("--test")
      ->excludes(seeds);
  app.add_flag("--quiet", s.quiet, "Say nothing on stderr but warnings and errors");
  programs::add_compute(app, s.with);
  programs::add_threads(app);
  auto* budget = app.add_option("--budget", s.budget,
                                "Choose a strategy and learning rate in this time: 30s, 10m, 2h")
                     ->type_name("TIME")
                     ->excludes(seeds)
                     ->excludes("--folds");
  app.add_option("--max-memory", s.memory,
                 "Most that gradient, optimizer and workspace may take: 512M, 2G")
      ->type_name("BYTES")
      ->needs(budget);
  app.add_option("--max-adapter", s.adapter,
                 "Most that the trained parameters may take, 4 bytes each: 512K, 1M")
      ->type_name("BYTES")
      ->needs(budget);
}

std::vector<const programs::strategy*> strategies_of(const settings& s) {
  if (std::set<std::string>(s.names.begin(), s.names.end()).size() != s.names.size())
    throw CLI::ValidationError("--strategies", "expected each once");
  std::vector<const programs::strategy*> list;
  for (const auto& name : s.names)
    list.push_back(programs::find_strategy(name));
  if (list.empty())
    list.assign(programs::strategies().begin(), programs::strategies().end());
  return list;
}

// ---- comparison ---------------------------------------------------------------------------------

class comparison {
 public:
  comparison(const CLI::App& app, const settings& s, programs::task& data)
      : app_(app), s_(s), data_(data), progress_(s.quiet) {
    if (s.folds > 0)
      parts_ = programs::folds_of(data, s.folds, s.seed);
    const json kept = settings_json();
    programs::keep_settings(s.out, kept);
    settings_ = programs::fingerprint_of({.texts = {{kept.dump(), "", 0}}});
    for (const auto* how : strategies_of(s))
      for (int i = 0; i < (s.folds > 0 ? s.folds : s.seeds); ++i)
        open_.push_back({how, s.rate.value_or(how->rate),
                         static_cast<std::uint64_t>(i) + (s.folds > 0 ? 0 : s.seed), s.epochs,
                         s.batch});
  }

  void run() {
    graft::create_folder(s_.out + "/runs");
    const std::size_t all = open_.size();
    std::erase_if(open_, [&](const programs::trial& t) {
      auto found = programs::read_run(s_.out, std::string(t.how->name), t.seed, settings_);
      if (!found)
        return false;
      if (found->failed.empty())
        times_.add(found->strategy, found->found.at("seconds"));
      done_.push_back(std::move(*found));
      return true;
    });
    if (!done_.empty() && !s_.quiet)
      programs::say(app_, std::to_string(done_.size()) + " of " + std::to_string(all) +
                              " runs are in " + s_.out + " already");
    while (!open_.empty()) {
      const programs::trial t = open_.front();
      programs::run_record record = tried(t);
      programs::write_run(s_.out, record, settings_);
      open_.erase(open_.begin());
      if (record.failed.empty())
        times_.add(record.strategy, record.found.at("seconds"));
      done_.push_back(std::move(record));
      tell_done(all);
    }
    write_results();
  }

 private:
  json settings_json() const {
    json kept{{"model", data_.base().name},
              {"model_fingerprint", data_.base().fingerprint},
              {"task", graft::name_of(s_.form.task)},
              {"pairs", s_.form.pairs},
              {"train", programs::fingerprint_of(data_.train())},
              {"dev", programs::fingerprint_of(data_.dev())},
              {"test", programs::fingerprint_of(data_.test())},
              {"epochs", s_.epochs},
              {"batch", s_.batch},
              {"learning_rate", s_.rate ? json(*s_.rate) : json("the strategy's")},
              {"max_length", s_.form.longest()},
              {"folds", s_.folds},
              {"computed", programs::text_of(s_.with)}};
    if (s_.folds > 0)
      kept["seed"] = s_.seed;
    return kept;
  }

  double seconds_left() const {
    double sum = 0;
    for (const auto& t : open_)
      sum += times_.seconds(std::string(t.how->name));
    return sum;
  }

  std::string name_of(const std::string& strategy, std::uint64_t number) const {
    return strategy + (s_.folds > 0 ? " fold " : " seed ") + std::to_string(number);
  }

  void show(const programs::trial& t, const graft::fit_progress& p, double seconds) {
    if (!progress_.due())
      return;
    const double whole = seconds / static_cast<double>(std::max<std::int64_t>(p.step, 1)) *
                         static_cast<double>(p.steps);
    programs::forecast now = times_;
    now.add(std::string(t.how->name), whole);
    double left = whole - seconds;
    for (std::size_t i = 1; i < open_.size(); ++i)
      left += now.seconds(std::string(open_[i].how->name));
    progress_.show(name_of(std::string(t.how->name), t.seed) + "  epoch " +
                   std::to_string(p.epoch) + "/" + std::to_string(t.epochs) + "  step " +
                   std::to_string(p.step) + "/" + std::to_string(p.steps) + "  " +
                   std::to_string(open_.size() - 1) + " runs after it  " +
                   programs::clock_text(left) + " left");
  }

  void tell_done(std::size_t all) {
    progress_.clear();
    const auto& r = done_.back();
    if (r.failed.empty() && s_.quiet)
      return;
    programs::say(
        app_, name_of(r.strategy, r.seed) + ": " +
                  (r.failed.empty()
                       ? "dev " + data_.score() + " " +
                             programs::printed("%.4f", r.found.at("dev_score")) +
                             " in " + programs::seconds_text(r.found.at("seconds"))
                       : "failed: " + r.failed) +
                  "; " + std::to_string(done_.size()) + " of " + std::to_string(all) + " runs, " +
                  programs::clock_text(seconds_left()) + " left");
  }

  bool best_so_far(const programs::run_record& r) const {
    return std::none_of(done_.begin(), done_.end(), [&](const programs::run_record& other) {
      return other.strategy == r.strategy && other.failed.empty() &&
             !programs::better_on_dev(r.found, other.found);
    });
  }

  // A run, and where it is its strategy's best its adapter in OUT/adapters/STRATEGY.
  programs::run_record tried(const programs::trial& t) {
    programs::run_record r{std::string(t.how->name), t.seed};
    std::unique_ptr<programs::session> model;
    try {
      programs::trial how = t;
      if (s_.folds > 0)
        how.seed = s_.seed;
      model = programs::start(how, data_);
      const auto& all = data_.examples_for(*model);
      warn_of_cuts();
      const auto fold = s_.folds > 0 ? programs::fold_of(data_, all, parts_, t.seed)
                                     : programs::fold_examples{};
      const programs::stopwatch watch;
      const auto report = model->fit(
          s_.folds > 0 ? fold.train : all.train.examples,
          s_.folds > 0 ? graft::example_list{} : all.dev.examples, programs::options_of(how),
          [&](const graft::fit_progress& p) { show(t, p, watch.seconds()); });
      const double seconds = watch.seconds();
      const auto count = model->count();
      const bool answers = s_.form.task == graft::task_kind::question_answering;
      r.found = {{"learning_rate", t.rate},
                 {"trained_parameters", static_cast<double>(count.trained)},
                 {"total_parameters", static_cast<double>(count.total)},
                 {"best_epoch", report.best_epoch},
                 {"steps", static_cast<double>(report.steps)},
                 {"seconds", seconds},
                 {"tokens_per_second", static_cast<double>(report.tokens) / seconds},
                 {"gradient_bytes", static_cast<double>(report.gradient_bytes)},
                 {"optimizer_bytes", static_cast<double>(report.optimizer_bytes)},
                 {"workspace_bytes", static_cast<double>(report.workspace_peak_bytes)},
                 {"training_bytes", static_cast<double>(programs::training_bytes(report))}};
      programs::add_scores(r.found, "dev",
                           s_.folds > 0 ? programs::scores_of(*model, fold.file, fold.held_out)
                           : answers    ? programs::scores_of(*model, data_.dev(), all.dev)
                                        : programs::best_of(report));
      if (data_.test().size() > 0)
        programs::add_scores(r.found, "test", programs::scores_of(*model, data_.test(), all.test));
    } catch (const std::exception& e) {
      return {r.strategy, r.seed, graft::text_of(e)};
    }
    const std::string folder = s_.out + "/adapters/" + r.strategy;
    if (best_so_far(r) || !std::filesystem::exists(folder)) {
      graft::create_folder(folder);
      model->save(folder, data_.base(), r.strategy);
      programs::write_reading(folder, s_.form, model->objective);
    }
    r.found["adapter_bytes"] = static_cast<double>(programs::adapter_bytes(folder));
    return r;
  }

  void warn_of_cuts() {
    if (data_.warning().empty() || warned_)
      return;
    progress_.clear();
    programs::say(app_, "warning: " + data_.warning());
    warned_ = true;
  }

  void write_results() {
    const auto rows = programs::summarized(done_);
    const auto write = [&](const char* name, const std::string& text) {
      graft::write_atomically(s_.out + "/" + name,
                              [&](graft::output_file& file) { file.write(text); });
    };
    write("compare.csv", programs::csv_of(rows));
    const std::string runs = s_.folds > 0    ? std::to_string(s_.folds) + " folds and standard error"
                             : s_.seeds == 1 ? "1 seed"
                                             : std::to_string(s_.seeds) + " seeds and standard error";
    write("compare.svg",
          programs::picture_of(rows, data_.score(),
                               data_.base().name + ", " + std::to_string(s_.epochs) +
                                   (s_.epochs == 1 ? " epoch" : " epochs") + " of " +
                                   std::to_string(data_.train().size()) + " examples, mean of " +
                                   runs));
    std::cout << programs::table_of(rows, data_.score());
    if (std::all_of(rows.begin(), rows.end(), [](const auto& row) { return row.done == 0; }))
      throw graft::error("expected a run that ends well, found none");
  }

  const CLI::App& app_;
  const settings& s_;
  programs::task& data_;
  programs::progress_line progress_;
  std::string settings_;               // their fingerprint
  std::vector<programs::trial> open_;  // what is still to be run, the present one first
  std::vector<programs::run_record> done_;
  programs::forecast times_;
  graft::index_lists parts_;  // of the training file, where there are folds
  bool warned_ = false;
};

// ---- choice -------------------------------------------------------------------------------------

programs::choice_settings choice_of(const settings& s) {
  programs::choice_settings c{.out = s.out, .strategies = strategies_of(s), .rate = s.rate};
  c.budget_text = s.budget;
  c.budget = programs::seconds_of(s.budget, "--budget");
  if (!s.memory.empty())
    c.memory = programs::amount_of(s.memory, "--max-memory");
  if (!s.adapter.empty())
    c.adapter = programs::amount_of(s.adapter, "--max-adapter");
  c.seed = s.seed;
  c.epochs = s.epochs;
  c.batch = s.batch;
  c.quiet = s.quiet;
  if (s.form.task != graft::task_kind::classification)
    c.further_options += " --task " + std::string(graft::name_of(s.form.task));
  if (s.form.pairs)
    c.further_options += " --pairs";
  c.further_options += " --max-length " + std::to_string(s.form.longest());
  if (s.form.limit > 0)
    c.further_options += " --limit " + std::to_string(s.form.limit);
  c.further_options += programs::options_of(s.with);
  if (!s.threads.empty())
    c.further_options += " --threads " + s.threads;
  return c;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app(
      "Compares strategies on a task: a table, OUT/compare.csv and OUT/compare.svg; or, with "
      "--budget, chooses one by successive halving over strategies and learning rates. The choice "
      "is made on dev; what test says is reported.",
      "graft-compare");
  settings s;
  add_options(app, s);
  return programs::run(app, argc, argv, [&] {
    const programs::stopwatch spent;
    if (app.count("--threads") > 0)
      s.threads = app.get_option("--threads")->results().front();
    programs::check_form(s.form);
    programs::check_compute(s.with);
    const bool chooses = !s.budget.empty();
    if (s.dev.empty() && s.folds == 0)
      throw CLI::ValidationError("--dev", "expected a file, or --folds; found neither");
    if (chooses && graft::per_token(s.form.task))
      throw CLI::ValidationError("--budget", "chooses for classification and regression only; "
                                             "without it strategies are compared on any task");
    const auto choice = chooses ? choice_of(s) : programs::choice_settings{};
    strategies_of(s);  // refuses what it must before data are read
    programs::task data(s.model, s.train, s.dev, s.test, s.form, s.with);
    graft::create_folder(s.out);
    if (chooses)
      programs::choose(choice, data, spent);
    else
      comparison(app, s, data).run();
  });
}
