// SPDX-License-Identifier: MIT
// train/training.hpp and train/regularization.hpp: what fit's options do to a step.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/training.hpp>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/small_bert.hpp"
#include "support/trained_values.hpp"

namespace graft_test::training_tests {

namespace {

using namespace graft;
using B = cpu<double>;
using Catch::Matchers::Contains;
using numbers = std::vector<double>;

struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
using full_classifier = bert_classifier<B, full>;

full_classifier fully_trained() {
  bert_config c = small_bert(bert_family::bert, 2);
  c.hidden_dropout = c.attention_dropout = c.head_dropout = 0;
  return full_classifier(c, {"a", "b"}, 3);
}

example_list two_class_texts(std::size_t n) {
  random_stream random(1);
  example_list data;
  for (std::size_t i = 0; i < n; ++i) {
    example e;
    e.label = static_cast<std::int32_t>(random.below(2));
    e.ids = {1, 2 + e.label, static_cast<std::int32_t>(random.below(11))};
    data.push_back(std::move(e));
  }
  return data;
}

// Plain steps of one size.
fit_options plain(int epochs = 1) {
  fit_options o{.epochs = epochs, .batch = 4, .method = sgd{.rate = 0.1}};
  o.rate = {.form = schedule::shape::constant, .warmup = 0};
  o.clip = 0;
  return o;
}

// The parameters after so many steps, and the losses of them.
struct walk {
  numbers start, parameters, losses;
};
walk after(int steps, const fit_options& options) {
  auto model = fully_trained();
  const auto data = two_class_texts(12);
  walk w;
  w.start = trained_values(model);
  training<full_classifier> run(model, data, {}, options);
  for (int i = 0; i < steps; ++i)
    w.losses.push_back(run.advance().loss);
  w.parameters = trained_values(model);
  return w;
}

}  // namespace

TEST_CASE("L2 pulls what decays to zero, and says so in the loss") {
  const double strength = 0.3;
  fit_options options = plain();
  const walk without = after(1, options);
  options.l2 = strength;
  const walk with = after(1, options);
  const auto model = fully_trained();
  double squares = 0;
  for (const segment& s : model.parameters.segments)
    for (auto i = static_cast<std::size_t>(s.offset); i < static_cast<std::size_t>(s.offset + s.size());
         ++i) {
      const double pulled = s.decays ? 0.1 * strength * with.start[i] : 0;
      CHECK(with.parameters[i] == Approx(without.parameters[i] - pulled).margin(1e-14));
      squares += s.decays ? with.start[i] * with.start[i] : 0;
    }
  CHECK(with.losses[0] == Approx(without.losses[0] + strength / 2 * squares).epsilon(1e-12));
}

TEST_CASE("L2-SP pulls to where the training began") {
  const double strength = 0.3;
  fit_options options = plain();
  options.decay_everything = true;
  const walk one = after(1, options), two = after(2, options);
  options.l2_start = strength;
  const walk first = after(1, options), second = after(2, options);
  CHECK(first.parameters == one.parameters);
  CHECK(first.losses[0] == one.losses[0]);
  double squares = 0;
  for (std::size_t i = 0; i < two.parameters.size(); ++i) {
    const double off = one.parameters[i] - one.start[i];
    CHECK(second.parameters[i] ==
          Approx(two.parameters[i] - 0.1 * strength * off).margin(1e-14));
    squares += off * off;
  }
  CHECK(second.losses[1] == Approx(two.losses[1] + strength / 2 * squares).epsilon(1e-12));
}

TEST_CASE("rates fall with depth, below the head, layer by layer") {
  const auto model = fully_trained();
  const auto rates = layer_rates(model.parameters.segments, 2, 0.5);
  std::set<double> seen;
  for (std::size_t i = 0; i < rates.size(); ++i) {
    const std::string& path = model.parameters.segments[i].path;
    INFO(path);
    CHECK(rates[i] == (path.starts_with("embeddings.") ? 0.125
                       : path.starts_with("layer.0.")  ? 0.25
                       : path.starts_with("layer.1.")  ? 0.5
                                                       : 1));
    seen.insert(rates[i]);
  }
  CHECK(seen.size() == 4);

  fit_options options = plain();
  const walk even = after(1, options);
  options.layer_decay = 0.5;
  const walk falling = after(1, options);
  for (std::size_t k = 0; k < rates.size(); ++k) {
    const segment& s = model.parameters.segments[k];
    for (auto i = static_cast<std::size_t>(s.offset); i < static_cast<std::size_t>(s.offset + s.size());
         ++i)
      CHECK(falling.parameters[i] - falling.start[i] ==
            Approx(rates[k] * (even.parameters[i] - even.start[i])).margin(1e-14));
  }
}

TEST_CASE("averaged weights follow the steps, and are what is left") {
  fit_options options = plain();
  const walk one = after(1, options), two = after(2, options), three = after(3, options);
  options.average = 0.25;  // above 2 / 11, 3 / 12 and no more: 2 / 11, 1 / 4, 1 / 4
  const auto data = two_class_texts(12);
  auto model = fully_trained();
  numbers evaluated;
  training<full_classifier> run(model, data, data, options);
  for (int i = 0; i < 3; ++i)
    run.advance();
  CHECK(trained_values(model) == three.parameters);  // the steps are those of before
  const double loss = run.advance().dev->loss;
  CHECK(run.over());
  CHECK(trained_values(model) == three.parameters);
  run.finish();
  const auto follow = [](const numbers& w, const numbers& to, double d) {
    numbers next;
    for (std::size_t i = 0; i < w.size(); ++i)
      next.push_back(d * w[i] + (1 - d) * to[i]);
    return next;
  };
  const numbers expected =
      follow(follow(follow(one.start, one.parameters, 2.0 / 11), two.parameters, 0.25),
             three.parameters, 0.25);
  const numbers found = trained_values(model);
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(found[i] == Approx(expected[i]).margin(1e-14));
  CHECK(loss == evaluate(model, data).loss);
  CHECK(found != three.parameters);
}

TEST_CASE("a score must be better by more than the least difference") {
  const evaluation worse{0.5, {{"accuracy", 0.8}, {"matthews", 0.3}}, {}};
  evaluation now{0.6, {{"accuracy", 0.85}, {"matthews", 0.2}}, {}};
  fit_options o;
  CHECK(detail::better(o, now, worse));
  o.minimum_delta = 0.1;
  CHECK_FALSE(detail::better(o, now, worse));
  o.monitor = "loss";
  CHECK_FALSE(detail::better(o, worse, now));
  o.minimum_delta = 0.05;
  CHECK(detail::better(o, worse, now));
  CHECK_FALSE(detail::better(o, now, worse));
  o.minimum_delta = 0;
  o.monitor = "matthews";
  CHECK_FALSE(detail::better(o, now, worse));
  now.scores[1].second = 0.3;  // equal: the loss decides
  CHECK_FALSE(detail::better(o, now, worse));
  CHECK(detail::better(o, worse, now));
}

TEST_CASE("augmentation sees every example in every epoch, and what it makes is trained on") {
  fit_options options = plain(2);
  const auto data = two_class_texts(10);
  std::multiset<std::pair<int, std::uint32_t>> seen;
  options.augment = [&](std::uint32_t i, int epoch, example& e) {
    CHECK(e.ids == data[i].ids);
    seen.insert({epoch, i});
  };
  auto same = fully_trained(), plain_model = fully_trained(), changed = fully_trained();
  const auto run = [&](full_classifier& model) {
    training<full_classifier> t(model, data, {}, options);
    while (!t.over())
      t.advance();
    return t.finish();
  };
  run(same);
  CHECK(seen.size() == 20);
  CHECK(std::set(seen.begin(), seen.end()).size() == 20);
  options.augment = {};
  const fit_report report = run(plain_model);
  CHECK(trained_values(same) == trained_values(plain_model));
  options.augment = [](std::uint32_t, int, example& e) {
    e.ids.push_back(4);
    e.label = 77, e.task = 9;  // which do not matter
  };
  CHECK(run(changed).tokens == report.tokens + 20);
  CHECK(trained_values(changed) != trained_values(plain_model));
  options.augment = [](std::uint32_t, int, example& e) { e.ids.clear(); };
  CHECK_THROWS_WITH(run(changed), Contains("expected tokens, found none left"));
}

TEST_CASE("options that make no sense are refused by name") {
  auto model = fully_trained();
  const auto data = two_class_texts(2);
  const auto refusal = [&](auto change) {
    fit_options o;
    change(o);
    CHECK_THROWS_WITH((training<full_classifier>(model, data, {}, o)),
                      Contains("fit_options.") && Contains("expected"));
  };
  refusal([](fit_options& o) { o.l2 = -1; });
  refusal([](fit_options& o) { o.l2_start = std::nan(""); });
  refusal([](fit_options& o) { o.layer_decay = 1.5; });
  refusal([](fit_options& o) { o.average = -0.1; });
  refusal([](fit_options& o) { o.minimum_delta = -1; });
  refusal([](fit_options& o) { o.batch = 0; });
}

}  // namespace graft_test::training_tests
