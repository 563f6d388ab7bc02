// SPDX-License-Identifier: MIT
// Fine-tunes a pretrained model for a task and writes the trained part.
#include "support/finetune_settings.hpp"
#include "support/processes.hpp"
#include "support/program.hpp"
#include "support/session.hpp"
#include "support/stages.hpp"
#include "support/task_data.hpp"
#include "support/training_records.hpp"
#include "support/trial.hpp"

#include <graft/core/error.hpp>
#include <graft/core/random.hpp>
#include <graft/io/file.hpp>
#include <graft/io/json.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/text/augment.hpp>
#include <graft/train/splits.hpp>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

namespace {

using json = nlohmann::ordered_json;
using settings = programs::finetune_settings;

std::string listed(const std::vector<std::string>& names) {
  std::string list;
  for (const auto& name : names)
    list += (list.empty() ? "" : ", ") + name;
  return list;
}

// --- the data ---

struct data_sets {
  programs::data_file train, dev, test;
  graft::label_set labels;
  programs::encoded_data train_examples, dev_examples, test_examples;
  graft::task_objective objective;
};

data_sets read_sets(const settings& s) {
  data_sets data;
  data.train = programs::read_data(s.train, s.form);
  data.dev = programs::read_data(s.dev, s.form);
  data.test = programs::read_data(s.test, s.form);
  data.labels = programs::labels_of(data.train, s.form);
  for (const auto* file : {&data.train, &data.dev, &data.test})  // before hours are spent
    programs::check_labels(*file, s.form, data.labels);
  return data;
}

void encode_sets(const settings& s, data_sets& data, programs::text_encoder& encoder) {
  for (auto [file, examples] : {std::pair{&data.train, &data.train_examples},
                                std::pair{&data.dev, &data.dev_examples},
                                std::pair{&data.test, &data.test_examples}})
    *examples = programs::encode(*file, s.form, data.labels, encoder);
  graft::cross_entropy loss = s.loss;
  if (s.balance) {
    std::vector<std::int32_t> labels;
    for (const graft::example& e : data.train_examples.examples) {
      labels.push_back(e.label);
      if (s.form.task == graft::task_kind::token_classification) {
        labels.pop_back();
        std::copy_if(e.labels.begin(), e.labels.end(), std::back_inserter(labels),
                     [](std::int32_t label) { return label >= 0; });
      }
    }
    loss.class_weights =
        graft::balanced_weights(labels, static_cast<std::size_t>(data.labels.size()));
  }
  data.objective = programs::objective_of(s.form, data.labels, data.train, loss);
}

// --- a run in stages, which may be taken up again ---

namespace fs = std::filesystem;

struct run_folders {
  fs::path out;

  fs::path settings() const { return out / "run.json"; }
  fs::path snapshots(std::size_t stage) const {
    return out / "snapshots" / std::to_string(stage + 1);
  }
  // What a stage ended with, for the next one.
  fs::path result(std::size_t stage) const { return out / "stages" / std::to_string(stage + 1); }
  fs::path summary(std::size_t stage) const { return result(stage) / "stage.json"; }
};

// What must be the same for a run to go on, beside what the snapshots themselves compare.
json facts_of(const settings& s, const std::string& fingerprint, const data_sets& data) {
  json numbers = json::object();
  const auto tell = [&](const char* name, const auto& value) {
    if (value)
      numbers[name] = *value;
  };
  tell("rank", s.rank);
  tell("alpha", s.alpha);
  tell("width", s.width);
  tell("dropout", s.dropout);
  tell("lr", s.rate);
  json tables = json::array();
  for (const std::string& step : s.augment)
    if (const auto first = step.find(':'), last = step.rfind(':');
        step.starts_with("synonyms:") && first < last)
      tables.push_back(graft::hash_of(graft::read_text(step.substr(first + 1, last - first - 1))));
  return {{"strategy", s.strategy}, {"base", fingerprint}, {"computed", programs::text_of(s.with)},
          {"train", programs::fingerprint_of(data.train)},
          {"dev", programs::fingerprint_of(data.dev)}, {"labels", data.labels.labels()},
          {"synonyms", tables},          {"numbers", numbers},
          {"set", s.numbers},       {"epochs", s.epochs},           {"seed", s.seed},
          {"limit", s.form.limit},  {"max_length", s.form.longest()}, {"augment", s.augment},
          {"batch", s.batch},       {"balance", s.balance},         {"pairs", s.form.pairs},
          {"task", graft::name_of(s.form.task)}, {"smoothing", s.loss.smoothing},
          {"options", graft::detail::options_json(s.fit)}};
}

void begin_run(const settings& s, const run_folders& folders, const json& facts) {
  const std::string file = folders.settings().string();
  if (s.snapshots.resume && fs::exists(file)) {
    const json before = json::parse(graft::read_text(file), nullptr, false);
    for (const auto& [name, value] : facts.items())
      if (!before.is_object() || !before.contains(name) || before[name] != value)
        throw graft::input_error(file + ": expected the run that --resume goes on with, found another: " +
                                 name + " is " + value.dump() + " here, " +
                                 (before.is_object() && before.contains(name) ? before[name].dump()
                                                                              : "absent") +
                                 " there");
    return;
  }
  if (!s.snapshots.resume && fs::exists(folders.out / "snapshots"))
    throw graft::input_error((folders.out / "snapshots").string() +
                             ": expected none, found those of an earlier run (--resume goes on from "
                             "them; delete them to begin anew)");
  fs::remove_all(folders.out / "stages");
  graft::write_atomically(file, [&](graft::output_file& out) { out.write(facts.dump(2) + "\n"); });
}

graft::regraft_options regraft_options_of(const settings& s, const programs::stage& stage) {
  return {.merge = stage.merge, .numbers = programs::numbers_of(s, *stage.what)};
}

// Stages that do not fit each other are found before the first is trained.
std::unique_ptr<programs::session> first_session(const settings& s,
                                                 const std::vector<programs::stage>& stages,
                                                 const graft::label_set& labels) {
  graft::load_options options;
  options.task = s.form.task;
  options.label_names = labels.labels();
  options.replace_head = true;
  options.seed = s.seed;
  options.dropout = s.dropout;
  options.numbers = programs::numbers_of(s, *stages.front().what);
  if (stages.size() > 1) {
    auto session = stages.front().what->start(s.with, s.model, options);
    for (std::size_t i = 1; i < stages.size(); ++i)
      try {
        session =
            stages[i].what->follow(s.with, *session, s.seed + i, regraft_options_of(s, stages[i]));
        session->expect_savable();
      } catch (const graft::error& e) {
        throw graft::input_error("--strategy: " + std::string(stages[i].what->name) + " cannot follow " +
                                 std::string(stages[i - 1].what->name) + " (merge between them may "
                                 "help): " + e.what());
      }
  }
  return stages.front().what->start(s.with, s.model, options);
}

struct stage_outcome {
  graft::fit_report report;
  double seconds = 0;
};

json stage_json(const programs::stage& stage, const stage_outcome& o) {
  const graft::evaluation& best = *o.report.best();
  json told{{"strategy", stage.what->name}, {"epochs", o.report.epochs.size()},
            {"best_epoch", o.report.best_epoch}, {"steps", o.report.steps},
            {"dev_loss", best.loss}};
  for (const auto& [name, value] : best.scores)
    told["dev_" + name] = value;
  told["train_seconds"] = o.seconds;
  return told;
}

graft::fit_options fit_options_of(const settings& s, const programs::stage& stage) {
  graft::fit_options options = s.fit;
  options.epochs = stage.epochs;
  options.batch = s.batch;
  options.method = graft::adamw{.rate = s.rate.value_or(stage.what->rate)};
  options.seed = s.seed;
  return options;
}

// Texts are changed by the words, and encoded anew.
void add_augmentation(const settings& s, const data_sets& data, programs::text_encoder& encoder,
                      graft::fit_options& options) {
  std::vector<graft::augmentation> steps;
  for (const std::string& step : s.augment)
    steps.push_back(graft::parse_augmentation(step));
  if (steps.empty())
    return;
  if (graft::per_token(s.form.task) || s.form.pairs)
    throw CLI::ValidationError("--augment", "changes single texts: not for pairs, "
                                            "token-classification and question-answering");
  options.augment = [&s, &data, &encoder, steps](std::uint32_t i, int epoch, graft::example& e) {
    auto random = graft::augmentation_stream(s.seed, static_cast<std::uint64_t>(epoch), i);
    e = encoder(graft::augment(data.train.texts[i].text, steps, random), s.train);
  };
}

stage_outcome run_stage(const settings& s, const run_folders& folders, std::size_t number,
                        const programs::stage& stage, programs::session& session,
                        const data_sets& data, const graft::fit_options& options,
                        programs::training_records& records, std::int64_t steps_before) {
  const bool snapshots = s.snapshots.every_steps > 0 || s.snapshots.every_minutes > 0 ||
                         s.snapshots.resume;
  graft::snapshot_options saving = s.snapshots;
  saving.folder = folders.snapshots(number).string();
  const auto& train = data.train_examples.examples;
  const auto& dev = data.dev_examples.examples;
  session.objective = data.objective;
  const auto run = session.train(train, dev, options);
  if (snapshots)
    run->begin_with_snapshots(saving);
  const graft::training_position at = run->position();
  records.go_on_after(steps_before + at.step, at.step == 0 || at.batch == 0);

  const double rate = std::get<graft::adamw>(options.method).rate;
  programs::progress_line progress(s.quiet);
  const programs::stopwatch watch;
  const auto observe = [&](const graft::fit_progress& p) {
    records.add(p, rate * p.rate_factor, steps_before);
    if (p.dev != nullptr) {
      progress.clear();
      if (!s.quiet)
        std::cerr << stage.what->name << ", epoch " << p.epoch << ": dev loss " << p.dev->loss << ", "
                  << programs::scores_text(*p.dev) << '\n';
    } else if (progress.due()) {
      progress.show(programs::training_text(
          {p.epoch, stage.epochs, p.step, p.steps, p.loss, p.tokens}, watch.seconds()));
    }
  };
  if (snapshots) {
    run->run_with_snapshots(saving, observe);
  } else {
    while (!run->over())
      observe(run->advance());
  }
  progress.clear();
  stage_outcome o{run->finish(), watch.seconds()};
  records.finish();
  return o;
}

// What the frozen part made of the texts.
std::string kept_text(const graft::kept_report& kept) {
  std::string text = "rows of the frozen layers: of training texts " +
                     std::string(graft::text_of(kept.train)) + ", of dev texts " +
                     std::string(graft::text_of(kept.dev));
  if (kept.examples > 0)
    text += "; " + std::to_string(kept.examples) + " texts in " +
            std::to_string((kept.bytes + 999'999) / 1'000'000) + " MB";
  return text;
}

// Of several processes the first alone writes and tells.
void fine_tune(const CLI::App& app, settings s, programs::processes& all) {
  if (!all.first()) {
    s.quiet = true;
    s.log_file = s.tensorboard = s.json_file = "";
  }
  s.fit.processes = all.group();
  programs::check_form(s.form);
  programs::check_compute(s.with);
  const auto stages = programs::parse_stages(s.strategy, s.epochs);
  programs::check_numbers(s, stages);

  data_sets data = read_sets(s);
  auto session = first_session(s, stages, data.labels);
  const auto base = graft::identify_base(s.model);
  auto encoder = programs::text_encoder::open(s.model, session->config(), session->longest(),
                                              s.form.longest());
  encode_sets(s, data, encoder);
  if (const auto warning = encoder.warning(); all.first() && !warning.empty())
    programs::say(app, "warning: " + warning);
  if (!s.quiet)
    programs::say(app, "freshly initialised: " + listed(session->loaded.fresh));
  if (s.describe && all.first())
    std::cerr << session->describe();

  // What cannot be written later is found out now.
  programs::expect_writable(s.json_file);
  if (all.first()) {
    graft::create_folder(s.out);
    programs::expect_writable(s.out + "/graft_adapter.json");
  }
  const run_folders folders{s.out};
  const bool in_parts = stages.size() > 1 || s.snapshots.every_steps > 0 ||
                        s.snapshots.every_minutes > 0 || s.snapshots.resume;
  if (in_parts && all.first())
    begin_run(s, folders, facts_of(s, base.fingerprint, data));
  all.meet();
  programs::training_records records(s.log_file, s.tensorboard);

  json told = json::array();
  std::int64_t steps = 0;
  double seconds = 0;
  stage_outcome last;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const programs::stage& stage = stages[i];
    // Every stage but the last is written and read again: a run that goes on begins a stage in the
    // same way.
    const bool is_last = i + 1 == stages.size();
    const fs::path summary = folders.summary(i);
    if (is_last || !(s.snapshots.resume && fs::exists(summary))) {
      graft::fit_options options = fit_options_of(s, stage);
      add_augmentation(s, data, encoder, options);
      last = run_stage(s, folders, i, stage, *session, data, options, records, steps);
      told.push_back(stage_json(stage, last));
      if (!is_last && all.first()) {
        session->save(folders.result(i).string(), base, stage.what->name);
        graft::write_atomically(summary, [&](graft::output_file& out) {
          out.write(told.back().dump(2) + "\n");
        });
      }
    } else {
      const nlohmann::json before = graft::read_json(summary);
      for (const char* needed : {"steps", "train_seconds"})
        graft::get<double>(before, needed, summary.string());
      told.push_back(json(before));
    }
    steps += told.back()["steps"].get<std::int64_t>();
    seconds += told.back()["train_seconds"].get<double>();
    if (!is_last) {
      all.meet();
      session = stage.what->resume(s.with, s.model, folders.result(i).string());
      session = stages[i + 1].what->follow(s.with, *session, s.seed + i + 1,
                                           regraft_options_of(s, stages[i + 1]));
      if (s.describe && all.first())
        std::cerr << session->describe();
    }
  }
  if (!all.first())
    return;

  const programs::strategy& strategy = *stages.back().what;
  session->save(s.out, base, strategy.name);
  programs::write_reading(s.out, s.form, data.objective);

  const auto count = session->count();
  const auto& report = last.report;
  const graft::evaluation& dev = *report.best();
  json result{{"strategy", strategy.name},
              {"task", graft::name_of(s.form.task)},
              {"seed", s.seed},
              {"backend", s.with.backend},
              {"precision", s.with.precision},
              {"total_parameters", count.total},
              {"trainable_parameters", count.trained},
              {"train_seconds", seconds},
              {"tokens_per_second", static_cast<double>(report.tokens) / last.seconds},
              {"peak_memory_bytes", programs::peak_memory_bytes()},
              {"best_epoch", report.best_epoch},
              {"stopped_early", report.stopped_early}};
  const auto tell_scores = [&](const std::string& part, const graft::evaluation& scores, bool known) {
    result[part + "_loss"] = known ? json(scores.loss) : json(nullptr);
    for (const auto& [name, value] : scores.scores)
      result[part + "_" + name] = known ? json(value) : json(nullptr);
  };
  const bool tested = data.test.size() > 0;
  const bool answers = s.form.task == graft::task_kind::question_answering;
  const graft::evaluation judged =
      answers ? programs::scores_of(*session, data.dev, data.dev_examples) : dev;
  const graft::evaluation test =
      tested ? programs::scores_of(*session, data.test, data.test_examples) : judged;
  tell_scores("dev", judged, true);
  tell_scores("test", test, tested);
  result.update({{"adapter_bytes", programs::adapter_bytes(s.out)},
                 {"learning_rate", s.rate.value_or(strategy.rate)},
                 {"steps", steps},
                 {"gradient_bytes", report.gradient_bytes},
                 {"optimizer_bytes", report.optimizer_bytes},
                 {"workspace_peak_bytes", report.workspace_peak_bytes},
                 {"kept_examples", report.kept.examples},
                 {"kept_bytes", report.kept.bytes},
                 {"frozen_train", graft::text_of(report.kept.train)},
                 {"frozen_dev", graft::text_of(report.kept.dev)},
                 {"labels", session->labels()}});
  if (stages.size() > 1)
    result["stages"] = told;
  const std::string text = result.dump(2) + "\n";
  if (!s.json_file.empty())
    graft::write_atomically(s.json_file, [&](graft::output_file& out) { out.write(text); });
  const std::string score = judged.scores.front().first;
  if (!s.quiet)
    programs::say(app, kept_text(report.kept));
  if (!s.quiet)
    std::cout << s.strategy << ": " << count.trained << " of " << count.total
              << " parameters trained in " << programs::clock_text(seconds) << ", dev " << score
              << " " << result["dev_" + score].dump()
              << (tested ? ", test " + score + " " + result["test_" + score].dump() : "")
              << ", written to " << s.out << '\n';
}

}  // namespace

int main(int argc, char** argv) try {
  programs::processes all;
  CLI::App app(
      "Fine-tunes a pretrained BERT, RoBERTa or DistilBERT for a task on texts and writes the part "
      "that was trained. graft-predict uses it. Built with MPI, mpirun -n N graft-finetune ... trains "
      "with N processes, each on a share of every batch.",
      "graft-finetune");
  settings s;
  programs::add_options(app, s);
  return all.end(programs::run(app, argc, argv, [&] { fine_tune(app, s, all); }));
} catch (const graft::error& e) {
  std::cerr << "graft-finetune: " << e.what() << '\n';
  return 1;
}
