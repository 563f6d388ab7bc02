// SPDX-License-Identifier: MIT
// train/fit.hpp
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/frozen_values.hpp"
#include "support/trained_values.hpp"

namespace graft_test::fit_tests {

namespace {

using namespace graft;
using graft::index_t;
using B = cpu<double>;
using Catch::Matchers::Contains;

// Some of everything: frozen layers, a low-rank update, a bottleneck, a trained head.
struct mixed {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}),
      on(at::feed_forward, bottleneck{.width = 3, .dropout = 0.1f}, top(1)), on(at::head, train{})};
};
using classifier = bert_classifier<B, mixed>;

bert_config tiny(double dropout) {
  bert_config c;
  c.width = 8;
  c.layers = 2;
  c.heads = 2;
  c.inner = 12;
  c.vocabulary = 20;
  c.positions = 12;
  c.hidden_dropout = c.attention_dropout = c.head_dropout = dropout;
  return c;
}

classifier fresh(double dropout = 0.1, std::uint64_t seed = 0) {
  classifier model(tiny(dropout), {"a", "b", "c"}, seed);
  fill_frozen(model);
  return model;
}

// Texts whose class is that of their second token.
example_list texts(std::size_t n, std::uint64_t seed = 1) {
  random_stream random(seed);
  example_list data;
  for (std::size_t i = 0; i < n; ++i) {
    example e;
    e.label = static_cast<std::int32_t>(random.below(3));
    e.ids = {1, 2 + e.label};
    for (std::uint64_t left = random.below(9); left > 0; --left)
      e.ids.push_back(static_cast<std::int32_t>(5 + random.below(15)));
    data.push_back(std::move(e));
  }
  return data;
}

std::vector<double> frozen_values(classifier& model) {
  std::vector<double> all;
  for (const auto& p : list_parts(model.network).parameters)
    if (p.weight)
      all.insert(all.end(), p.data(), p.data() + p.size());
  return all;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

fit_options quick() {
  fit_options o;
  o.epochs = 2;
  o.batch = 4;
  o.method = adamw{.rate = 1e-2};
  return o;
}

}  // namespace

TEST_CASE("a classifier learns what can be learned, and nothing frozen moves") {
  auto model = fresh();
  const auto frozen = frozen_values(model);
  REQUIRE(frozen.size() > 1000);
  const auto before = trained_values(model);
  fit_options options = quick();
  options.epochs = 40;
  options.method = adamw{.rate = 2e-2};
  const auto data = texts(60), dev = texts(30, 2);
  const fit_report report = fit(model, data, dev, options);
  CHECK(report.best()->score("accuracy") >= 0.9);
  CHECK(report.epochs.front().train_loss > 2 * report.epochs.back().train_loss);
  CHECK(frozen_values(model) == frozen);
  for (const segment& s : model.parameters.segments) {
    INFO(s.path);
    bool moved = false;
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      moved = moved || model.parameters.values.data[i] != before[static_cast<std::size_t>(i)];
    CHECK(moved);
  }
  CHECK(report.gradient_bytes == static_cast<std::size_t>(model.parameters.size()) * 8);
  CHECK(report.optimizer_bytes == 2 * report.gradient_bytes);
  CHECK(report.workspace_peak_bytes > 0);
}

TEST_CASE("equal seeds give equal runs, bit for bit, and other seeds others") {
  const auto data = texts(21);
  const auto run = [&](std::uint64_t seed) {
    auto model = fresh();
    fit_options options = quick();
    options.seed = seed;
    fit(model, data, {}, options);
    return trained_values(model);
  };
  const auto first = run(1);
  CHECK(run(1) == first);
  CHECK(run(2) != first);
}

TEST_CASE("batches that are accumulated make the step of one batch of their examples") {
  const auto data = texts(GENERATE(16u, 21u));
  const auto run = [&](int batch, int accumulate, const std::vector<double>& weights) {
    auto model = fresh(0);
    for_each_layer(model.network, [](const std::string&, auto& part) {
      if constexpr (requires { part.drop.rate; })
        part.drop.rate = 0;
    });
    fit_options options = quick();
    options.batch = batch;
    options.accumulate = accumulate;
    options.bucketed = false;
    options.clip = 0.5;
    options.method = sgd{.rate = 0.1, .momentum = 0.5};
    options.loss = {.class_weights = weights, .smoothing = 0.1};
    const fit_report report = fit(model, data, {}, options);
    return std::pair(trained_values(model), report);
  };
  const std::vector<double> weights =
      GENERATE(std::vector<double>{}, std::vector<double>{1, 3, 0.2});
  const auto [whole, whole_report] = run(8, 1, weights);
  const auto [parts, parts_report] = run(4, 2, weights);
  const auto [singles, singles_report] = run(1, 8, weights);
  CHECK(distance(whole, parts) < 1e-12);
  CHECK(distance(whole, singles) < 1e-12);
  CHECK(whole_report.steps == parts_report.steps);
  CHECK(whole_report.steps == singles_report.steps);
  CHECK(whole_report.tokens == parts_report.tokens);
  CHECK(parts_report.epochs[1].train_loss == Approx(whole_report.epochs[1].train_loss));
}

TEST_CASE("the parameters of the best epoch are left in the model") {
  const auto data = texts(24);
  auto dev = texts(24, 2);
  for (example& e : dev)
    e.label = (e.label + 1) % 3;  // what is learned makes it worse
  fit_options options = quick();
  options.epochs = 12;
  options.monitor = "loss";
  options.method = adamw{.rate = 3e-2};
  options.patience = GENERATE(0, 2);
  auto model = fresh();
  std::vector<std::vector<double>> after_epoch;
  const fit_report report = fit(model, data, dev, options, [&](const fit_progress& now) {
    if (now.dev)
      after_epoch.push_back(trained_values(model));
  });
  REQUIRE(report.best_epoch >= 1);
  REQUIRE(report.best_epoch < 12);
  const auto best = static_cast<std::size_t>(report.best_epoch) - 1;
  CHECK(trained_values(model) == after_epoch[best]);
  CHECK(trained_values(model) != after_epoch.back());
  for (const epoch_report& e : report.epochs)
    CHECK(e.dev.loss >= report.epochs[best].dev.loss);
  CHECK(report.stopped_early == (options.patience > 0));
  CHECK(report.epochs.size() ==
        (options.patience > 0 ? best + 1 + static_cast<std::size_t>(options.patience) : 12));
  CHECK(evaluate(model, dev).loss == Approx(report.best()->loss).epsilon(1e-12));
}

TEST_CASE("without a dev set the last epoch counts") {
  const auto data = texts(12);
  auto model = fresh();
  std::vector<double> last;
  fit_options options = quick();
  options.epochs = 4;
  options.patience = 1;
  const fit_report report =
      fit(model, data, {}, options, [&](const fit_progress&) { last = trained_values(model); });
  CHECK(report.best_epoch == 4);
  CHECK_FALSE(report.stopped_early);
  CHECK(trained_values(model) == last);
}

TEST_CASE("no epochs leave the model as it was") {
  auto model = fresh();
  const auto before = trained_values(model);
  fit_options options;
  options.epochs = 0;
  const fit_report report = fit(model, texts(3), {}, options);
  CHECK(report.best_epoch == 0);
  CHECK(report.best() == nullptr);
  CHECK(report.steps == 0);
  CHECK(trained_values(model) == before);
}

TEST_CASE("an observer is told of every step and every epoch") {
  const auto data = texts(10);
  auto model = fresh();
  fit_options options = quick();
  options.accumulate = 2;  // 3 batches: 2 steps
  options.rate = {.form = schedule::shape::linear, .warmup = 0};
  std::vector<std::int64_t> steps;
  std::vector<double> rates;
  std::int64_t tokens = 0;
  int epochs = 0;
  const fit_report report = fit(model, data, data, options, [&](const fit_progress& now) {
    CHECK(now.steps == 4);
    if (now.dev) {
      CHECK(now.epoch == ++epochs);
      return;
    }
    steps.push_back(now.step);
    rates.push_back(now.rate_factor);
    CHECK(now.loss > 0);
    CHECK(now.gradient_norm > 0);
    CHECK(now.tokens > tokens);
    tokens = now.tokens;
  });
  CHECK(steps == std::vector<std::int64_t>{1, 2, 3, 4});
  CHECK(rates == std::vector<double>{1, 0.75, 0.5, 0.25});
  CHECK(epochs == 2);
  std::size_t expected = 0;
  for (const example& e : data)
    expected += 2 * e.ids.size();
  CHECK(report.tokens == static_cast<std::int64_t>(expected));
  CHECK(report.tokens == tokens);
}

TEST_CASE("a step's gradient is clipped to its norm") {
  const auto data = texts(4);
  auto model = fresh();
  const auto before = trained_values(model);
  fit_options options;
  options.epochs = 1;
  options.clip = 1e-3;
  options.method = sgd{.rate = 0.5};
  options.rate = {.form = schedule::shape::constant, .warmup = 0};
  double norm = 0;
  fit(model, data, {}, options, [&](const fit_progress& now) { norm = now.gradient_norm; });
  REQUIRE(norm > 0.01);
  const auto after = trained_values(model);
  double square = 0;
  for (std::size_t i = 0; i < after.size(); ++i)
    square += (after[i] - before[i]) * (after[i] - before[i]);
  CHECK(std::sqrt(square) == Approx(0.5 * 1e-3).epsilon(1e-3));
}

TEST_CASE("a run that diverges says at which step and leaves finite parameters") {
  auto model = fresh();
  fit_options options = quick();
  options.method = sgd{.rate = 1e200};
  options.rate = {.form = schedule::shape::constant, .warmup = 0};
  try {
    fit(model, texts(24), {}, options);
    FAIL("expected a divergence_error");
  } catch (const divergence_error& e) {
    CHECK(e.step == 2);
    CHECK_THAT(e.what(), Contains("step 2: expected a finite"));
  }
  for (const double x : trained_values(model))
    CHECK(std::isfinite(x));
}

TEST_CASE("a NaN in a parameter is found at the first step, and no other is touched") {
  auto model = fresh();
  model.parameters.values.data[0] = std::numeric_limits<double>::quiet_NaN();
  auto before = trained_values(model);
  try {
    fit(model, texts(8), {}, quick());
    FAIL("expected a divergence_error");
  } catch (const divergence_error& e) {
    CHECK(e.step == 1);
    CHECK_THAT(e.what(), Contains("step 1: expected a finite loss, found"));
  }
  auto after = trained_values(model);
  before[0] = after[0] = 0;
  CHECK(after == before);
}

TEST_CASE("an evaluation is that of the predictions") {
  const auto model = fresh();
  const auto data = texts(13);
  const evaluation e = evaluate(model, data, 5);
  double loss = 0;
  confusion_matrix confusion(3);
  for (std::uint32_t i = 0; i < data.size(); ++i) {
    token_batch batch;
    pack(data, std::vector<std::uint32_t>{i}, 0, batch);
    host_workspace memory;
    const auto y = model.predict(batch, {memory, batch.rows});
    const double* largest = std::max_element(y.data, y.data + 3);
    confusion.add(data[i].label, static_cast<std::int32_t>(largest - y.data));
    loss += std::log(std::exp(y.data[0]) + std::exp(y.data[1]) + std::exp(y.data[2])) -
            y.data[data[i].label];
  }
  CHECK(e.loss == Approx(loss / 13).epsilon(1e-12));
  CHECK(e.confusion.counts == confusion.counts);
  CHECK(evaluate(model, {}).confusion.total() == 0);
}

TEST_CASE("an example draws the same dropout masks in every batch") {
  const auto model = fresh(0.3);
  const auto data = texts(6);
  const auto outputs = [&](const std::vector<std::uint32_t>& chosen, bool training,
                           std::uint64_t step = 4) {
    token_batch batch;
    pack(data, chosen, 0, batch);
    host_workspace memory;
    classifier::training_cache cache;
    const auto y = model.network.forward<training_demand>(batch, cache,
                                                          {memory, batch.rows, training, 9, step});
    return std::vector<double>(y.data, y.data + y.size());
  };
  const auto together = outputs({5, 0, 3, 1}, true);
  const auto row = [&](std::size_t i) {
    const auto from = together.begin() + static_cast<std::ptrdiff_t>(3 * i);
    return std::vector<double>(from, from + 3);
  };
  CHECK(distance(outputs({5}, true), row(0)) < 1e-12);
  CHECK(distance(outputs({3}, true), row(2)) < 1e-12);
  CHECK(distance(outputs({1, 3}, true), {together[9], together[10], together[11], together[6],
                                         together[7], together[8]}) < 1e-12);
  CHECK(distance(outputs({3}, false), row(2)) > 1e-3);
  CHECK(distance(outputs({3}, true, 5), row(2)) > 1e-3);
}

TEST_CASE("what cannot be trained on is refused before the first step") {
  auto model = fresh();
  const auto data = texts(4);
  auto bad = data;
  bad[2].label = 3;
  const auto refusal = [&](const example_list& train, const example_list& dev,
                           const fit_options& options = {}) -> std::string {
    try {
      fit(model, train, dev, options);
    } catch (const graft::error& e) {
      return e.what();
    }
    return "no error";
  };
  const auto before = trained_values(model);
  CHECK_THAT(refusal({}, {}), Contains("expected training examples, found none"));
  CHECK_THAT(refusal(bad, data), Contains("example 2: expected a label below 3, found 3"));
  CHECK_THAT(refusal(data, bad), Contains("example 2: expected a label below 3, found 3"));
  CHECK_THROWS_AS(evaluate(model, bad), input_error);
  bad[2].label = -1;
  CHECK_THAT(refusal(data, bad), Contains("found -1"));
  fit_options options;
  options.loss.class_weights = {1, 2};
  CHECK_THAT(refusal(data, data, options), Contains("class_weights: expected 3, found 2"));
  options = {};
  options.batch = 0;
  CHECK_THAT(refusal(data, data, options),
             Contains("fit_options.batch: expected at least 1, found 0"));
  options = {};
  options.accumulate = 0;
  CHECK_THAT(refusal(data, data, options), Contains("fit_options.accumulate"));
  options = {};
  options.evaluation_batch = -1;
  CHECK_THAT(refusal(data, data, options), Contains("fit_options.evaluation_batch"));
  CHECK(trained_values(model) == before);
}

TEST_CASE("texts that a model cannot read are refused") {
  auto model = fresh();
  auto data = texts(4);
  SECTION("too long") {
    data[1].ids.assign(13, 5);
    CHECK_THROWS_AS(fit(model, data, {}), input_error);
  }
  SECTION("a token that it does not have") {
    data[1].ids[0] = 20;
    CHECK_THROWS_AS(fit(model, data, {}), input_error);
  }
  SECTION("a token type that it does not have") {
    data[1].types.assign(data[1].ids.size(), 2);
    CHECK_THROWS_AS(fit(model, data, {}), input_error);
  }
  SECTION("another number of types than of tokens") {
    data[1].types = {0};
    CHECK_THROWS_AS(fit(model, data, {}), shape_error);
  }
  SECTION("but a text without tokens is one") {
    data[1].ids.clear();
    CHECK(fit(model, data, data).steps == 3);
  }
}

}  // namespace graft_test::fit_tests
