// SPDX-License-Identifier: MIT
#include <graft/train/task_objective.hpp>

#include <graft/backend/cpu.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::task_objective_tests {

namespace {

using B = cpu<double>;
using Catch::Matchers::Contains;

struct low_rank_and_embeddings {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}),
                                on(at::head | at::embeddings, train{})};
};
struct encoder_alone {
  static constexpr recipe rules{on(at::everything, train{})};
};

bert_config config_for(task_kind task) {
  bert_config c = small_bert(bert_family::bert, 1);
  c.hidden_dropout = c.attention_dropout = c.head_dropout = 0;
  c.task = task;
  return c;
}
bert_classifier<B, low_rank_and_embeddings> model_for(task_kind task,
                                                      std::vector<std::string> labels) {
  return {config_for(task), std::move(labels), 3};
}

// Texts of words 3 to 10 between 1 and 2, whose first word says all.
example_list task_texts(std::size_t count, std::uint64_t seed) {
  random_stream random(seed);
  example_list data(count);
  for (example& e : data) {
    const auto word = [&] { return 3 + static_cast<std::int32_t>(random.below(8)); };
    e.ids = {1, word(), word(), word(), 2};
    e.target = (e.ids[1] - 6.5) / 2;
    e.labels = {-100, e.ids[1] > 6, e.ids[2] > 6, e.ids[3] > 6, -100};
    // The answer is the last of the text's words above 6, or not there.
    e.answer.context_row = 1;
    e.answer.context_rows = 3;
    e.answer.question = static_cast<std::uint32_t>(&e - data.data());
    for (std::int32_t i = 1; i <= 3; ++i)
      if (e.ids[static_cast<std::size_t>(i)] > 6)
        e.answer.first = e.answer.last = i, e.answer.true_first = e.answer.true_last = i - 1;
  }
  return data;
}

template <class Model>
evaluation learned(Model& model, const fit_options& options) {
  const auto data = task_texts(120, 1), dev = task_texts(60, 2);
  const fit_report report = fit(model, data, dev, options);
  CHECK(evaluate(model, dev).loss == Approx(report.best()->loss).epsilon(1e-9));
  return *report.best();
}

const fit_options steps{.epochs = 20, .batch = 8, .method = adamw{.rate = 2e-2}};

}  // namespace

TEST_CASE("a regression is learned") {
  auto model = model_for(task_kind::regression, {"score"});
  fit_options longer = steps;
  longer.epochs = 40;
  CHECK(learned(model, longer).score("pearson") > 0.97);
}

TEST_CASE("a class of every token is learned") {
  auto model = model_for(task_kind::token_classification, {"O", "HIGH"});
  const evaluation best = learned(model, steps);
  CHECK(best.score("f1") > 0.95);
  CHECK(best.score("accuracy") > 0.97);
}

TEST_CASE("the place of an answer is learned") {
  auto model = model_for(task_kind::question_answering, {"first", "last"});
  const auto data = task_texts(200, 1), dev = task_texts(60, 2);
  const task_objective what{question_answering{.unanswerable = true}};
  const fit_report report =
      fit(model, data, dev, {.epochs = 25, .batch = 8, .method = adamw{.rate = 2e-2}}, what);
  CHECK(report.best()->score("token_exact_match") > 0.85);
}

TEST_CASE("texts that go together are learned to lie together") {
  sentence_encoder<B, encoder_alone> model(config_for(task_kind::classification), 3);
  const auto pairs = [](std::uint64_t seed) {
    auto data = task_texts(240, seed);
    const auto others = task_texts(240, seed + 10);
    for (std::size_t i = 0; i < data.size(); ++i) {
      data[i].second = others[i].ids;
      data[i].target = (data[i].ids[1] > 6) == (others[i].ids[1] > 6) ? 1 : 0;
    }
    return data;
  };
  const auto data = pairs(1), dev = pairs(2);
  const double before = evaluate(model, dev).score("spearman");
  const fit_report report =
      fit(model, data, dev, {.epochs = 10, .batch = 8, .method = adamw{.rate = 1e-2}});
  CHECK(before < 0.5);
  CHECK(report.best()->score("spearman") > 0.8);
  const similarity ranking{.form = similarity::form_t::ranking};
  sentence_encoder<B, encoder_alone> other(config_for(task_kind::classification), 3);
  const double worse = evaluate(other, dev, 8, ranking).loss;
  fit(other, data, dev, {.epochs = 4, .batch = 8, .method = adamw{.rate = 1e-2}}, ranking);
  CHECK(evaluate(other, dev, 8, ranking).loss < worse);
}

TEST_CASE("an objective follows from a model's task, with its own check of examples") {
  const auto refusal = [](task_kind task, std::vector<std::string> labels, example e) {
    try {
      default_objective(model_for(task, std::move(labels))).check(std::span(&e, 1));
    } catch (const input_error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  const example e{.ids = {1, 2}, .label = 7, .target = NAN, .labels = {3}, .answer = {.last = 9}};
  CHECK_THAT(refusal(task_kind::classification, {"a", "b"}, e), Contains("label below 2"));
  CHECK_THAT(refusal(task_kind::regression, {"s"}, e), Contains("finite target"));
  CHECK_THAT(refusal(task_kind::token_classification, {"O"}, e), Contains("each of 2 tokens"));
  CHECK_THAT(refusal(task_kind::question_answering, {"f", "l"}, e), Contains("answer within 2"));
}

TEST_CASE("class weights and smoothing are for classes") {
  auto model = model_for(task_kind::regression, {"score"});
  const auto data = task_texts(4, 1);
  fit_options options;
  options.loss.smoothing = 0.1;
  CHECK_THROWS_WITH(fit(model, data, {}, options),
                    Contains("expected neither class weights nor smoothing for regression"));
  CHECK_THROWS_WITH(fit(model, data, {}, options, task_objective{regression{}}),
                    Contains("expected nothing beside an objective, which has its own"));
}

TEST_CASE("a score to watch is one that the objective has") {
  auto model = model_for(task_kind::regression, {"score"});
  const auto data = task_texts(4, 1);
  fit_options options;
  options.monitor = "accuracy";
  CHECK_THROWS_WITH(fit(model, data, data, options),
                    Contains("expected one of pearson, spearman, found accuracy"));
}

TEST_CASE("a batch that nothing is asked of is no obstacle") {
  auto model = model_for(task_kind::token_classification, {"O", "HIGH"});
  auto data = task_texts(8, 1);
  for (std::size_t i = 0; i < 8; ++i)
    if (i != 3)
      data[i].labels.assign(5, -100);
  const fit_report report = fit(model, data, {}, {.epochs = 1, .batch = 1});
  CHECK(report.steps == 8);
  CHECK(std::isfinite(report.epochs[0].train_loss));
  CHECK(report.epochs[0].train_loss > 0);
}

}  // namespace graft_test::task_objective_tests
