// SPDX-License-Identifier: MIT
// io/snapshot.hpp, and what train/training.hpp gives it.
#include <graft/backend/cpu.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/lora.hpp>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/frozen_values.hpp"
#include "support/golden.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_bert.hpp"
#include "support/trained_values.hpp"

namespace graft_test {

namespace {

using namespace graft;
using F = cpu<float>;
using Catch::Matchers::Contains;

// Ranks that are shared out by what was seen in earlier steps, and a layer that is trained itself.
struct shared_ranks {
  static constexpr recipe rules{
      on(at::query | at::value, adalora{.rank = 4, .target_rank = 1, .dropout = 0.1f, .warmup = 2,
                                        .settle = 3, .interval = 2}),
      on(at::feed_forward_output, train{}, top(2)), on(at::pooler | at::head, train{})};
};
using classifier = bert_classifier<F, shared_ranks>;
struct low_rank_dropped_out {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic, .dropout = 0.1f}),
                                on(at::head, train{})};
};

template <class T = shared_ranks>
bert_classifier<F, T> fresh(std::uint64_t seed = 0, const decoration_numbers& numbers = {},
                            double dropout = 0.1, double base = 0) {
  bert_config c = small_bert(bert_family::bert, 2);
  c.hidden_dropout = dropout;
  bert_classifier<F, T> model(c, {"a", "b"}, seed, numbers);
  fill_frozen(model, base);
  return model;
}

example_list short_texts(std::size_t n, std::uint64_t seed = 1) {
  random_stream random(seed);
  example_list data;
  for (std::size_t i = 0; i < n; ++i) {
    example e;
    e.label = static_cast<std::int32_t>(random.below(2));
    e.ids = {1, 2 + e.label};
    for (std::uint64_t left = random.below(5); left > 0; --left)
      e.ids.push_back(static_cast<std::int32_t>(random.below(11)));
    data.push_back(std::move(e));
  }
  return data;
}

fit_options rich() {
  fit_options o{.epochs = 4, .batch = 3, .accumulate = 2, .method = adamw{.rate = 2e-2}};
  o.patience = 2;
  o.l2 = 1e-3;
  o.l2_start = 1e-2;
  o.layer_decay = 0.8;
  o.seed = 5;
  o.augment = [](std::uint32_t i, int epoch, example& e) {
    e.ids.push_back(static_cast<std::int32_t>((i + static_cast<unsigned>(epoch)) % 11));
  };
  return o;
}

struct outcome {
  std::vector<float> parameters;
  fit_report report;
};

void check_same(const outcome& a, const outcome& b) {
  CHECK(a.parameters == b.parameters);
  CHECK(a.report.best_epoch == b.report.best_epoch);
  CHECK(a.report.stopped_early == b.report.stopped_early);
  CHECK(a.report.steps == b.report.steps);
  CHECK(a.report.tokens == b.report.tokens);
  REQUIRE(a.report.epochs.size() == b.report.epochs.size());
  for (std::size_t i = 0; i < a.report.epochs.size(); ++i) {
    CHECK(a.report.epochs[i].train_loss == b.report.epochs[i].train_loss);
    CHECK(a.report.epochs[i].dev.loss == b.report.epochs[i].dev.loss);
    CHECK(a.report.epochs[i].dev.score("accuracy") == b.report.epochs[i].dev.score("accuracy"));
    CHECK(a.report.epochs[i].dev.confusion.counts == b.report.epochs[i].dev.confusion.counts);
  }
}

template <class T = shared_ranks>
outcome whole_run(const fit_options& options) {
  const auto train = short_texts(20), dev = short_texts(9, 2);
  auto model = fresh<T>();
  outcome o;
  o.report = fit(model, train, dev, options);
  o.parameters = trained_values(model);
  return o;
}

}  // namespace

namespace {

// Stops after every number of advances, and goes on.
template <class T>
void check_taken_up(const fit_options& options) {
  const auto train = short_texts(20), dev = short_texts(9, 2);
  const outcome expected = whole_run<T>(options);
  const scratch_folder folder;
  const std::filesystem::path file = folder / "step-1.safetensors";
  using model_type = bert_classifier<F, T>;
  std::size_t done = 0;
  for (bool over = false; !over; ++done) {
    INFO("stopped after " << done << " advances");
    {
      auto model = fresh<T>();
      training<model_type> run(model, train, dev, options);
      for (std::size_t i = 0; i < done; ++i)
        run.advance();
      over = run.over();
      save_snapshot(run, file);
    }
    auto model = fresh<T>();
    training<model_type> run(model, train, dev, options);
    load_snapshot(run, file);
    CHECK(run.over() == over);
    while (!run.over())
      run.advance();
    const fit_report report = run.finish();
    check_same({trained_values(model), report}, expected);
  }
  CHECK(done > 8);
}

}  // namespace

TEST_CASE("a training that is taken up anywhere ends as the one that was not stopped, bit for bit") {
  fit_options options = rich();
  SECTION("AdamW, and ranks that are shared out") { check_taken_up<shared_ranks>(options); }
  SECTION("averaged weights") {
    options.average = 0.9;
    check_taken_up<low_rank_dropped_out>(options);
  }
  SECTION("SGD with momentum, another monitor") {
    options.method = sgd{.rate = 5e-2, .momentum = 0.9};
    options.monitor = "loss";
    options.accumulate = 1;
    check_taken_up<shared_ranks>(options);
  }
}

TEST_CASE("a loss that is no number is remembered as such") {
  const auto at = detail::position_from(
      detail::position_json({.epoch = 2,
                             .best_epoch = 1,
                             .epochs = {{1, INFINITY,
                                         {NAN, {{"f1", 0.5}, {"b", NAN}}, confusion_matrix(2)}}}}),
      "file");
  REQUIRE(at.epochs.size() == 1);
  CHECK(at.epochs[0].train_loss == INFINITY);
  CHECK(std::isnan(at.epochs[0].dev.loss));
  CHECK(at.epochs[0].dev.score("f1") == 0.5);
  CHECK(std::isnan(at.epochs[0].dev.score("b")));
}

TEST_CASE("fit writes snapshots by steps, keeps the last, and goes on from the newest") {
  const scratch_folder folder;
  const auto train = short_texts(20), dev = short_texts(9, 2);
  fit_options options = rich();
  options.patience = 0;
  const outcome expected = whole_run(options);
  snapshot_options snapshots{.folder = folder / "snapshots", .every_steps = 3, .keep = 2};
  struct stopped {};
  {
    auto model = fresh();
    CHECK_THROWS_AS(fit(model, train, dev, options, snapshots,
                        [](const fit_progress& p) {
                          if (p.step == 11)
                            throw stopped{};
                        }),
                    stopped);
  }
  auto files = snapshots_in(snapshots.folder);
  REQUIRE(files.size() == 2);
  CHECK(files[0].filename() == "step-000000006.safetensors");
  CHECK(files[1].filename() == "step-000000009.safetensors");
  // What a process that was killed leaves behind.
  std::ofstream(files[1].string() + ".tmp0") << "half";

  snapshots.resume = true;
  std::vector<std::int64_t> steps;
  auto model = fresh();
  outcome found;
  found.report = fit(model, train, dev, options, snapshots, [&](const fit_progress& p) {
    if (!p.dev)
      steps.push_back(p.step);
  });
  found.parameters = trained_values(model);
  check_same(found, expected);
  CHECK(steps.front() == 10);
  files = snapshots_in(snapshots.folder);
  CHECK(files.size() == 2);
  CHECK(std::distance(std::filesystem::directory_iterator(snapshots.folder), {}) == 2);

  SECTION("once it is over there is nothing left to do") {
    auto again = fresh();
    int calls = 0;
    fit(again, train, dev, options, snapshots, [&](const fit_progress&) { ++calls; });
    CHECK(calls == 0);
    CHECK(trained_values(again) == expected.parameters);
  }
  SECTION("without resume nothing is lost") {
    snapshots.resume = false;
    auto again = fresh();
    CHECK_THROWS_WITH(fit(again, train, dev, options, snapshots, [](const fit_progress&) {}),
                      Contains("expected no snapshots of an earlier run") && Contains("found 2"));
    CHECK(snapshots_in(snapshots.folder) == files);
    snapshots.folder = "";
    CHECK_THROWS_WITH(fit(again, train, dev, options, snapshots, [](const fit_progress&) {}),
                      Contains("snapshot_options.folder: expected a folder, found none"));
  }
}

TEST_CASE("snapshots by time are written once it has passed") {
  const scratch_folder folder;
  auto model = fresh();
  std::size_t most = 0;
  const snapshot_options snapshots{
      .folder = folder / "snapshots", .every_minutes = 1e-9, .keep = 100};
  const fit_report report = fit(
      model, short_texts(20), {}, rich(), snapshots,
      [&](const fit_progress&) { most = std::max(most, snapshots_in(snapshots.folder).size()); });
  CHECK(most + 1 >= static_cast<std::size_t>(report.steps));
}

TEST_CASE("a snapshot of another run is refused by what differs") {
  const scratch_folder folder;
  const std::filesystem::path file = folder / "step-1.safetensors";
  const auto train = short_texts(20), dev = short_texts(9, 2);
  {
    auto model = fresh();
    training<classifier> run(model, train, dev, rich());
    run.advance();
    save_snapshot(run, file);
  }
  const auto refusal = [&](const fit_options& options, std::span<const example> data,
                           classifier model = fresh()) {
    const auto before = trained_values(model);
    training<classifier> run(model, data, dev, options);
    const std::string message = message_of<checkpoint_error>([&] { load_snapshot(run, file); });
    CHECK(trained_values(model) == before);
    return message;
  };
  fit_options options = rich();
  CHECK(refusal(options, train) == "no exception");
  options.seed = 6;
  CHECK_THAT(refusal(options, train), Contains("seed is 6 here, 5 there"));
  options = rich();
  options.l2 = 0;
  CHECK_THAT(refusal(options, train), Contains("l2 is 0 here, 0.001 there"));
  options = rich();
  options.method = adam{};
  CHECK_THAT(refusal(options, train), Contains("method is") && Contains("adamw"));
  auto other = train;
  other[3].ids[0] = 9;
  CHECK_THAT(refusal(rich(), other), Contains("train_data is"));
  other.pop_back();
  CHECK_THAT(refusal(rich(), other), Contains("train_"));
  const auto other_start = Contains("model_at_start is");
  CHECK_THAT(refusal(rich(), train, fresh(1)), other_start);
  CHECK_THAT(refusal(rich(), train, fresh(0, {{"alpha", 3}})), other_start);
  CHECK_THAT(refusal(rich(), train, fresh(0, {{"dropout", 0.3}})), other_start);
  CHECK_THAT(refusal(rich(), train, fresh(0, {}, 0.3)), other_start);
  CHECK_THAT(refusal(rich(), train, fresh(0, {}, 0.1, 0.01f)), other_start);
}

TEST_CASE("a file that is no snapshot, or half of one, is refused") {
  const scratch_folder folder;
  const std::filesystem::path file = folder / "step-1.safetensors";
  auto model = fresh();
  const auto train = short_texts(20);
  training<classifier> run(model, train, {}, rich());
  const auto refusal = [&] {
    return message_of<checkpoint_error>([&] { load_snapshot(run, file); });
  };
  write_safetensors(file, {});
  CHECK_THAT(refusal(), Contains("expected a snapshot with \"format\", found none"));
  save_snapshot(run, file);
  const auto size = std::filesystem::file_size(file);
  std::filesystem::resize_file(file, size - 4);
  CHECK_THAT(refusal(), Contains("step-1.safetensors"));
  save_snapshot(run, file);
  // A tensor of another size.
  const auto from = safetensors_file::open(file);
  std::vector<tensor_entry> entries = from.entries();
  for (tensor_entry& e : entries)
    if (e.name == "first_moment")
      e = {e.name, e.type, {e.shape[0] - 1}, e.data, e.bytes - sizeof(float)};
  write_safetensors(folder / "other.safetensors", entries, from.metadata());
  std::filesystem::rename(folder / "other.safetensors", file);
  CHECK_THAT(refusal(), Contains("first_moment: expected"));
}

TEST_CASE("a folder that cannot be written to is an error, and older snapshots stay") {
  const scratch_folder folder;
  std::ofstream(folder / "file") << "x";
  auto model = fresh();
  const snapshot_options nowhere{.folder = folder / "file", .every_steps = 1};
  CHECK_THROWS_WITH(fit(model, short_texts(8), {}, rich(), nowhere, [](const fit_progress&) {}),
                    Contains("file"));
}

}  // namespace graft_test
