// SPDX-License-Identifier: MIT
// train/training.hpp in several processes: up to rounding the run of one, and the same in each.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/lora.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "mpi/processes.hpp"
#include "support/catch.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

using namespace graft;
using B = cpu<double>;
using Catch::Matchers::Contains;

struct low_rank {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2, .dropout = 0.2f}),
                                on(at::head, train{})};
};
struct shared_ranks {
  static constexpr recipe rules{
      on(at::query | at::value, adalora{.rank = 3, .target_rank = 2, .warmup = 1, .settle = 1}),
      on(at::head, train{})};
};
struct everything {
  static constexpr recipe rules{on(at::everything, train{})};
};

// Dropout everywhere: its masks belong to examples, not to batches.
bert_config config_for(task_kind task) {
  bert_config c = small_bert(bert_family::bert, 2);
  c.task = task;
  return c;
}

example_list texts(std::size_t count, std::uint64_t seed) {
  random_stream random(seed);
  example_list data(count);
  for (example& e : data) {
    const std::size_t length = 2 + random.below(5);
    for (std::size_t i = 0; i < length; ++i) {
      e.ids.push_back(static_cast<std::int32_t>(random.below(11)));
      e.labels.push_back(i == 0 ? -100 : e.ids.back() > 5);
    }
    e.label = e.ids[1] > 5;
    e.target = e.ids[1] / 10.0;
    e.second = {1, static_cast<std::int32_t>(random.below(11))};
  }
  return data;
}

fit_options plain(process_group* together) {
  fit_options o{.epochs = 2, .batch = 4, .accumulate = 2, .method = adamw{.rate = 1e-2}};
  o.processes = together;
  return o;
}

template <class Model>
std::vector<double> values_of(const Model& model) {
  const auto& v = model.parameters.values;
  return {v.data, v.data + v.size()};
}

double worst_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    worst = std::max(worst, std::abs(a[i] - b[i]));
  return worst;
}

// Trains a model alone and one together with the other processes.
template <class Model, class Make>
void check_same_run(Make make, const fit_options& alone = plain(nullptr)) {
  const auto data = texts(21, 1), dev = texts(9, 2);  // no batch is the same size for all
  fit_options together = alone;
  together.processes = &processes();
  Model one = make(), shared = make();
  const std::vector<double> start = values_of(one);
  const fit_report expected = fit(one, data, dev, alone), found = fit(shared, data, dev, together);
  CHECK(worst_difference(values_of(one), start) > 1e-3);
  CHECK(worst_difference(values_of(shared), values_of(one)) < 1e-9);
  CHECK(found.steps == expected.steps);
  CHECK(found.tokens == expected.tokens);
  CHECK(found.best_epoch == expected.best_epoch);
  REQUIRE(found.epochs.size() == expected.epochs.size());
  for (std::size_t i = 0; i < found.epochs.size(); ++i) {
    CHECK(found.epochs[i].train_loss == Approx(expected.epochs[i].train_loss).epsilon(1e-9));
    CHECK(found.epochs[i].dev.loss == Approx(expected.epochs[i].dev.loss).epsilon(1e-9));
  }
  // The same bits everywhere.
  std::vector<double> first = values_of(shared);
  processes().broadcast(std::as_writable_bytes(std::span(first)), 0);
  CHECK(values_of(shared) == first);
  // Scored together as alone.
  const auto what = default_objective(one);
  const evaluation a = evaluate(one, dev, 2, what), b = evaluate(one, dev, 2, what, &processes());
  CHECK(a.loss == b.loss);
  CHECK(a.scores == b.scores);
}

template <class T>
auto classifier_for(task_kind task, std::vector<std::string> labels) {
  return [=] { return bert_classifier<B, T>(config_for(task), labels, 5); };
}

}  // namespace

TEST_CASE("processes that share batches train what one process trains") {
  using two_classes = bert_classifier<B, low_rank>;
  const auto make = classifier_for<low_rank>(task_kind::classification, {"no", "yes"});
  check_same_run<two_classes>(make);
  SECTION("with class weights, penalties, an average, no accumulation") {
    fit_options o = plain(nullptr);
    o.accumulate = 1;
    o.loss = {.class_weights = {1, 3}, .smoothing = 0.1};
    o.l2 = 1e-3;
    o.l2_start = 1e-2;
    o.average = 0.9;
    check_same_run<two_classes>(make, o);
  }
  SECTION("with batches of fewer examples than processes") {
    fit_options o = plain(nullptr);
    o.batch = o.accumulate = 1;
    check_same_run<two_classes>(make, o);
  }
}

TEST_CASE("… of full fine-tuning, and of ranks that are shared out by what all processes found") {
  check_same_run<bert_classifier<B, everything>>(
      classifier_for<everything>(task_kind::classification, {"no", "yes"}));
  check_same_run<bert_classifier<B, shared_ranks>>(
      classifier_for<shared_ranks>(task_kind::classification, {"no", "yes"}));
}

TEST_CASE("… of every task") {
  check_same_run<bert_classifier<B, low_rank>>(
      classifier_for<low_rank>(task_kind::token_classification, {"O", "HIGH"}));
  check_same_run<bert_classifier<B, low_rank>>(
      classifier_for<low_rank>(task_kind::regression, {"score"}));
  check_same_run<sentence_encoder<B, everything>>(
      [] { return sentence_encoder<B, everything>(config_for(task_kind::classification), 5); });
}

TEST_CASE("processes that begin differently are told so, all of them") {
  const auto rank = static_cast<std::uint64_t>(processes().rank());
  bert_classifier<B, low_rank> same(config_for(task_kind::classification), {"no", "yes"}, 5);
  bert_classifier<B, low_rank> other(config_for(task_kind::classification), {"no", "yes"}, 5 + rank);
  const auto data = texts(8, 1);
  const std::string others = std::to_string(processes().size() - 1);
  CHECK_THROWS_WITH(fit(other, data, {}, plain(&processes())),
                    Contains("expected model, examples, options and seed to be the same in all "
                             "processes, found others than the first one's in " + others));
  CHECK_THROWS_AS(fit(same, texts(8 + rank, 1), {}, plain(&processes())), error);
  CHECK_THROWS_AS(fit(same, texts(8, 1 + rank), {}, plain(&processes())), error);
  CHECK_THROWS_AS(fit(same, data, texts(8, 1 + rank), plain(&processes())), error);
  fit_options more = plain(&processes());
  more.epochs += static_cast<int>(rank);
  CHECK_THROWS_AS(fit(same, data, {}, more), error);
  more = plain(&processes());
  more.method = adamw{.rate = 1e-2 * static_cast<double>(1 + rank)};
  CHECK_THROWS_AS(fit(same, data, {}, more), error);
}

TEST_CASE("a loss over a whole batch is not shared out") {
  sentence_encoder<B, everything> model(config_for(task_kind::classification), 5);
  const similarity ranking{.form = similarity::form_t::ranking};
  CHECK_THROWS_WITH(fit(model, texts(8, 1), {}, plain(&processes()), ranking),
                    Contains("expected an objective whose batches can be shared out"));
}

TEST_CASE("a loss that is no number in one process stops all") {
  bert_classifier<B, low_rank> model(config_for(task_kind::regression), {"score"}, 5);
  auto data = texts(8, 1);
  data[3].target = 1e200;  // its square is too large
  fit_options o = plain(&processes());
  o.clip = 0;
  CHECK_THROWS_AS(fit(model, data, {}, o), divergence_error);
}

}  // namespace graft_test
