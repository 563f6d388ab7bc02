// SPDX-License-Identifier: MIT
// Tasks other than a class for each sequence against PyTorch and PEFT.
#include <graft/train/task_objective.hpp>
#include <graft/train/training.hpp>
#include <graft/tuning/prompt.hpp>
#include <graft/tuning/recipe.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using B = cpu<double>;

struct words {
  static constexpr recipe rules{on(at::word, prompt{}), on(at::head, train{})};
};
struct no_head {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 4, .alpha = 8})};
};

// Every sequence of a run and what is asked of it.
example_list sequences_of(golden& peer) {
  const auto cut = [&](const std::string& name) {
    std::vector<std::vector<std::int32_t>> runs;
    const auto offsets = peer.integers("input.offsets");
    const auto values = peer.has(name) ? peer.integers(name) : std::vector<std::int32_t>{};
    for (std::size_t s = 0; s + 1 < offsets.size(); ++s)
      runs.push_back(values.empty() ? values
                                    : std::vector(values.begin() + offsets[s],
                                                  values.begin() + offsets[s + 1]));
    return runs;
  };
  const auto ids = cut("input.ids"), types = cut("input.types"), labels = cut("input.labels");
  example_list data(ids.size());
  for (std::size_t s = 0; s < data.size(); ++s) {
    data[s].ids = ids[s];
    data[s].types = types[s];
    data[s].labels = labels[s];
  }
  return data;
}

example_list with_targets(example_list data, const std::vector<double>& targets) {
  REQUIRE(targets.size() == data.size());
  for (std::size_t s = 0; s < data.size(); ++s)
    data[s].target = targets[s];
  return data;
}

example_list with_answers(example_list data, const std::vector<std::int32_t>& places) {
  REQUIRE(places.size() == 2 * data.size());
  for (std::size_t s = 0; s < data.size(); ++s) {
    data[s].answer.first = places[2 * s];
    data[s].answer.last = places[2 * s + 1];
  }
  return data;
}

// Every sequence and the one after it.
example_list two_by_two(const example_list& sequences) {
  example_list data;
  for (std::size_t s = 0; s + 1 < sequences.size(); s += 2) {
    data.push_back(sequences[s]);
    data.back().second = sequences[s + 1].ids;
  }
  return data;
}

// The ten steps of a training. Where an objective allows it, each is one of three batches:
// sequences weigh what is asked of them, whichever batch they are in.
template <class Model, class Objective>
void check_steps(Model& model, golden& peer, const example_list& data, const Objective& asked,
                 const renaming& name_of) {
  const bool parted = asked.separable();
  training<Model, Objective> run(model, data, {},
                                 {.epochs = 10,
                                  .batch = parted ? 2 : static_cast<int>(data.size()),
                                  .accumulate = parted ? 3 : 1,
                                  .method = adamw{.rate = peer.number("learning_rate"),
                                                  .epsilon = peer.number("eps"),
                                                  .decay = peer.number("weight_decay")},
                                  .rate = {.form = schedule::shape::constant, .warmup = 0},
                                  .clip = 0},
                                 asked);
  std::vector<double> losses;
  while (!run.over())
    if (const fit_progress& now = run.advance(); !now.dev)
      losses.push_back(now.loss);
  run.finish();
  auto expected = peer.values("losses");
  expected.pop_back();  // after the last step
  CHECK(error_of(std::span<const double>(losses), expected) <= 1e-8);
  expect_same(peer, "final.", name_of, model.parameters.segments, model.parameters.values, 1e-8);
}

// An evaluation's loss, a training's steps, and everything that check_training asks for.
template <class Model, class Objective>
void check_task(Model& model, golden& peer, const example_list& data, const Objective& asked,
                const renaming& special = {}) {
  const renaming name_of = names_of(model.config.family, special, model.config.task);
  start_from(peer, name_of, model.network);
  token_batch batch;
  truth t;
  for (std::uint32_t i = 0; i < data.size(); ++i)
    asked.add(data[i], {.number = i}, model.config.first_position, batch, t);

  B::workspace memory;
  const context<B> k{memory, batch.rows};
  typename Objective::tally sums;
  asked.count(sums, model.predict(batch, k), batch, t);
  CHECK(asked.evaluate(std::move(sums)).loss == Approx(peer.values("loss").at(0)).epsilon(1e-12));

  auto copy = model.clone();
  check_steps(copy, peer, data, asked, name_of);
  const auto loss = [&](const B::tensor& outputs, const context<B>& within) {
    return asked.template loss<B>(outputs, batch, t, within);
  };
  check_training(model, peer, batch, loss, special);
}

template <class T>
auto model_for(task_kind task, const std::string& name, const decoration_numbers& numbers = {}) {
  return load_classifier<B, T>(golden_path(name), {.task = task, .numbers = numbers, .dropout = 0});
}

template <class T>
void check_regression(const std::string& method, const decoration_numbers& numbers = {}) {
  INFO(method);
  golden peer("bert", method);
  auto model = model_for<T>(task_kind::regression, "bert", numbers);
  check_task(model, peer, with_targets(sequences_of(peer), peer.values("input.targets")),
             default_objective(model));
}

template <class T>
void check_tokens(const std::string& name, const std::string& method,
                  const decoration_numbers& numbers = {}, const renaming& special = {}) {
  INFO(name << "/" << method);
  golden peer(name, method);
  auto model = model_for<T>(task_kind::token_classification, name, numbers);
  check_task(model, peer, sequences_of(peer), default_objective(model), special);
}

template <class T>
void check_answers(const std::string& name, const std::string& method,
                   const decoration_numbers& numbers = {}) {
  INFO(name << "/" << method);
  golden peer(name, method);
  auto model = model_for<T>(task_kind::question_answering, name, numbers);
  check_task(model, peer, with_answers(sequences_of(peer), peer.integers("input.answers")),
             default_objective(model));
}

template <class T>
void check_cosine(const std::string& method) {
  INFO(method);
  golden peer("bert", method);
  auto model = load_sentence_encoder<B, T>(golden_path("bert"), {.dropout = 0});
  check_task(model, peer,
             with_targets(two_by_two(sequences_of(peer)), peer.values("input.targets")),
             default_objective(model));
}

}  // namespace

TEST_CASE("numbers for pairs of texts are computed and learned as PyTorch's and PEFT's are") {
  check_regression<strategies::full>("regression");
  check_regression<strategies::lora_query_value>("regression_lora", with_rank(4, 8));
}

TEST_CASE("classes of tokens are computed and learned as PyTorch's and PEFT's are") {
  for (const std::string name : {"bert", "roberta", "distilbert"})
    check_tokens<strategies::full>(name, "tokens");
  check_tokens<strategies::lora_query_value>("bert", "tokens_lora", with_rank(4, 8));
}

TEST_CASE("rows of a prompt are no tokens that are asked for a class") {
  check_tokens<words>("bert", "tokens_prompt", {{"tokens", 5}}, [](const std::string& path) {
    return path.ends_with("prompt.rows") ? "prompt_encoder.embedding.weight" : std::string();
  });
}

TEST_CASE("places of answers are computed and learned as PyTorch's and PEFT's are") {
  for (const std::string name : {"bert", "roberta", "distilbert"})
    check_answers<strategies::full>(name, "answers");
  check_answers<strategies::lora_query_value>("bert", "answers_lora", with_rank(4, 8));
}

TEST_CASE("cosines of texts are learned as PyTorch and PEFT learn them") {
  check_cosine<strategies::full>("cosine");
  check_cosine<no_head>("cosine_lora");
}

TEST_CASE("which texts go together is learned as PyTorch learns it") {
  golden peer("bert", "ranking");
  auto model = load_sentence_encoder<B, strategies::full>(golden_path("bert"), {.dropout = 0});
  check_task(model, peer, two_by_two(sequences_of(peer)),
             similarity{.form = similarity::form_t::ranking});
}

}  // namespace graft_test
