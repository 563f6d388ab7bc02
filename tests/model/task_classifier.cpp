// SPDX-License-Identifier: MIT
// model/task_classifier.hpp, and training and evaluating one.
#include <graft/backend/cpu.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/composition.hpp>

#include <algorithm>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::task_classifier_tests {

namespace {

using B = cpu<double>;
using Catch::Matchers::Contains;

struct an_adapter_each {
  static constexpr recipe rules{
      on(at::feed_forward_join, compose::by_task{.each = bottleneck{.width = 4}}),
      on(at::head, train{})};
};
using classifier = task_classifier<B, an_adapter_each>;

const std::vector<task> two{{"second", {"a", "b"}}, {"third", {"x", "y", "z"}}};

classifier fresh_task_classifier() {
  bert_config c = small_bert();
  c.hidden_dropout = c.attention_dropout = c.head_dropout = 0;
  c.vocabulary = 16;
  classifier model(c, two, 3);
  random_stream random(3);
  for (const auto& p : list_parts(model.network).parameters)
    if (p.weight) {
      auto values = std::make_shared<std::vector<double>>(static_cast<std::size_t>(p.size()));
      for (double& v : *values)
        v = (p.kind == parameter_kind::norm_weight) + 0.4 * random.normal();
      p.weight->data = values->data();
      p.weight->owner = values;
    }
  return model;
}

// Task 0 asks for the second token, one of two; task 1 for the third, one of three.
example_list texts(std::size_t n, const classifier& model, std::uint64_t seed) {
  random_stream random(seed);
  example_list data;
  for (std::size_t i = 0; i < n; ++i) {
    const auto second = static_cast<std::int32_t>(random.below(2));
    const auto third = static_cast<std::int32_t>(random.below(3));
    example e{.ids = {1, 2 + second, 4 + third}, .task = static_cast<std::uint32_t>(i % 2)};
    e.label = model.label_of(e.task, e.task == 0 ? second : third);
    data.push_back(std::move(e));
  }
  return data;
}

template <class M>
std::vector<double> values_below(const M& model, const std::string& name) {
  std::vector<double> all;
  for (const segment& s : model.parameters.segments)
    if (s.path.find(name) != std::string::npos)
      all.insert(all.end(), model.parameters.values.data + s.offset,
                 model.parameters.values.data + s.offset + s.size());
  return all;
}

}  // namespace

TEST_CASE("classes of several tasks stand side by side") {
  const classifier model = fresh_task_classifier();
  CHECK(model.labels ==
        std::vector<std::string>{"second/a", "second/b", "third/x", "third/y", "third/z"});
  CHECK(model.first_label(0) == 0);
  CHECK(model.first_label(1) == 2);
  CHECK(model.label_of(1, 2) == 4);
  std::string heads;
  for (const segment& s : model.parameters.segments)
    if (s.path.starts_with("head"))
      heads += s.path + " ";
  CHECK(heads ==
        "head.0.classifier.weight head.0.classifier.bias head.1.classifier.weight "
        "head.1.classifier.bias ");
}

TEST_CASE("tasks are named, different and not empty") {
  const auto made = [](std::vector<task> tasks) {
    return [=] { classifier(small_bert(), tasks); };
  };
  CHECK_THROWS_WITH(made({})(), Contains("expected tasks, found none"));
  CHECK_THROWS_WITH(made({{"a", {"n"}}, {"b", {}}})(), Contains("task b: expected labels"));
  CHECK_THROWS_WITH(made({{"a", {"n"}}, {"a", {"m"}}})(), Contains("found a twice"));
}

TEST_CASE("two tasks are learned together, each by its adapters and its head") {
  classifier model = fresh_task_classifier();
  const auto data = texts(160, model, 1), dev = texts(60, model, 2);
  fit_options options{.epochs = 25, .batch = 8, .method = adamw{.rate = 2e-2}};
  options.loss.smoothing = 0.05;
  const fit_report report = fit(model, data, dev, options);
  CHECK(report.best()->score("accuracy") >= 0.9);
  const auto scores = evaluate_tasks(model, dev);
  REQUIRE(scores.size() == 2);
  CHECK(scores[0].confusion.classes() == 2);
  CHECK(scores[1].confusion.classes() == 3);
  for (const evaluation& e : scores) {
    CHECK(e.score("accuracy") >= 0.85);
    CHECK(e.confusion.total() == 30);  // no answer is another task's
  }
  CHECK((scores[0].loss + scores[1].loss) / 2 == Approx(report.best()->loss));
  CHECK((scores[0].score("accuracy") + scores[1].score("accuracy")) / 2 == Approx(report.best()->score("accuracy")));
}

TEST_CASE("examples of one task leave the other's adapters and head alone") {
  classifier model = fresh_task_classifier();
  auto data = texts(40, model, 1);
  std::erase_if(data, [](const example& e) { return e.task == 0; });
  const auto before = model.clone();
  fit_options options{.epochs = 2, .batch = 4, .method = adamw{.rate = 1e-2, .decay = 0}};
  fit(model, data, {}, options);
  for (const char* theirs : {".adapter.a.", "head.0."})
    CHECK(values_below(model, theirs) == values_below(before, theirs));
  for (const char* own : {".adapter.b.", "head.1."})
    CHECK(values_below(model, own) != values_below(before, own));
}

TEST_CASE("an example must be of a task, and its label of that task") {
  classifier model = fresh_task_classifier();
  example_list data = texts(4, model, 1);
  SECTION("no such task") {
    data[1].task = 2;
    CHECK_THROWS_WITH(fit(model, data, {}),
                      Contains("example 1: expected a task below 2, found 2"));
  }
  SECTION("another task's label") {
    data[1].label = 1;
    CHECK_THROWS_WITH(evaluate(model, data),
                      Contains("example 1 of task third: expected a label from 2 to 4, found 1"));
  }
  SECTION("no label at all") {
    data[3].label = 5;
    CHECK_THROWS_WITH(fit(model, texts(2, model, 1), data),
                      Contains("example 3 of task third: expected a label from 2 to 4, found 5"));
  }
}

}  // namespace graft_test::task_classifier_tests
