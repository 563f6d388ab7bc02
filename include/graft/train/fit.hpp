// SPDX-License-Identifier: MIT
// Fine-tuning: epochs of packed batches, evaluation after each, the best epoch's weights at the
// end.
#pragma once

#include <graft/core/error.hpp>
#include <graft/model/model.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/metrics.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/schedule.hpp>
#include <graft/tuning/step_hooks.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// The loss, or the gradient's norm, is no finite number. That step was not taken: the model holds
// the parameters it began with.
struct divergence_error : error {
  std::int64_t step;
  divergence_error(std::int64_t at, const std::string& what, double found)
      : error("training: step " + std::to_string(at) + ": expected a finite " + what + ", found " +
              std::to_string(found)),
        step(at) {}
};

// | option           | meaning                                                        | default |
// | epochs           | passes over the training examples                              | 3       |
// | batch            | examples per forward and backward                              | 16      |
// | accumulate       | batches per optimizer step                                     | 1       |
// | method           | sgd, adam or adamw, with its numbers                           | adamw   |
// | decay_everything | let weight decay act on norms and biases too                   | false   |
// | rate             | schedule of the learning rate                                  | linear  |
// | clip             | greatest norm of a step's gradient, 0: no limit                | 1       |
// | loss             | cross-entropy: class weights, label smoothing                  |         |
// | bucketed         | texts of like length share a batch                             | true    |
// | patience         | epochs without a better dev score before stopping, 0: never    | 0       |
// | monitor          | the dev score: accuracy, f1, or loss (smaller is better)       | accuracy |
// | evaluation_batch | examples per batch while evaluating                            | 32      |
// | seed             | of data order and dropout                                      | 0       |
struct fit_options {
  enum class score : unsigned char { accuracy, f1, loss };

  int epochs = 3;
  int batch = 16;
  int accumulate = 1;
  optimizer_method method = adamw{.rate = 1e-3};
  bool decay_everything = false;
  schedule rate{};
  double clip = 1;
  cross_entropy loss{};
  bool bucketed = true;
  int patience = 0;
  score monitor = score::accuracy;
  int evaluation_batch = 32;
  std::uint64_t seed = 0;

  void check() const {
    const auto least = [](const char* name, int value, int minimum) {
      if (value < minimum)
        throw input_error(std::string("fit_options.") + name + ": expected at least " +
                          std::to_string(minimum) + ", found " + std::to_string(value));
    };
    least("epochs", epochs, 0);
    least("batch", batch, 1);
    least("accumulate", accumulate, 1);
    least("patience", patience, 0);
    least("evaluation_batch", evaluation_batch, 1);
  }
};

// What a callback of fit is told after every optimizer step and, with `dev` set, after every epoch.
struct fit_progress {
  int epoch = 0;           // from 1
  std::int64_t step = 0;   // optimizer steps done
  std::int64_t steps = 0;  // … of the whole run, if it is not stopped early
  double loss = 0;         // of this step
  double gradient_norm = 0;
  double rate_factor = 0;
  std::int64_t tokens = 0;  // trained on so far
  const evaluation* dev = nullptr;
};

struct epoch_report {
  int epoch = 0;
  double train_loss = 0;  // mean over the epoch's examples, by their class weights
  evaluation dev;
};

struct fit_report {
  std::vector<epoch_report> epochs;
  int best_epoch = 0;  // 0: no epoch was run
  bool stopped_early = false;
  std::int64_t steps = 0;
  std::int64_t tokens = 0;
  std::size_t gradient_bytes = 0, optimizer_bytes = 0, workspace_peak_bytes = 0;

  const evaluation* best() const {
    return best_epoch > 0 ? &epochs[static_cast<std::size_t>(best_epoch) - 1].dev : nullptr;
  }
};

namespace detail {

inline void gather_labels(std::span<const example> data, std::span<const std::uint32_t> chosen,
                          std::vector<std::int32_t>& labels) {
  labels.clear();
  for (std::uint32_t i : chosen)
    labels.push_back(data[i].label);
}

inline void check_labels(std::span<const example> data, std::size_t classes) {
  for (std::size_t i = 0; i < data.size(); ++i)
    if (data[i].label < 0 || static_cast<std::size_t>(data[i].label) >= classes)
      throw input_error("example " + std::to_string(i) + ": expected a label below " +
                        std::to_string(classes) + ", found " + std::to_string(data[i].label));
}

// Of a model with several tasks, an example's label must be a class of its task.
template <class Model>
void check_examples(const Model& model, std::span<const example> data) {
  check_labels(data, model.labels.size());
  if constexpr (requires { model.tasks; })
    for (std::size_t i = 0; i < data.size(); ++i) {
      const std::size_t task = data[i].task;
      if (task >= model.tasks.size())
        throw input_error("example " + std::to_string(i) + ": expected a task below " +
                          std::to_string(model.tasks.size()) + ", found " + std::to_string(task));
      const std::int32_t first = model.first_label(task), next = model.first_label(task + 1);
      if (data[i].label < first || data[i].label >= next)
        throw input_error("example " + std::to_string(i) + " of task " + model.tasks[task].name +
                          ": expected a label from " + std::to_string(first) + " to " +
                          std::to_string(next - 1) + ", found " + std::to_string(data[i].label));
    }
}

inline bool better(fit_options::score monitor, const evaluation& a, const evaluation& b) {
  switch (monitor) {
    case fit_options::score::accuracy:
      return a.accuracy > b.accuracy || (a.accuracy == b.accuracy && a.loss < b.loss);
    case fit_options::score::f1:
      return a.f1 > b.f1 || (a.f1 == b.f1 && a.loss < b.loss);
    case fit_options::score::loss:
      return a.loss < b.loss;
  }
  return false;
}

}  // namespace detail

// Calls f(i, outputs, row) for every example i, in batches, dropout off.
template <class Model, class F>
void for_each_prediction(const Model& model, std::span<const example> data, int batch, F&& f) {
  using B = typename Model::backend_type;
  typename B::workspace memory;
  token_batch packed;
  for (const auto& chosen : plan_evaluation(data, static_cast<std::size_t>(batch))) {
    pack(data, chosen, model.config.first_position, packed);
    const context<B> k{memory, packed.rows};
    const auto outputs = model.predict(packed, k);
    for (std::size_t r = 0; r < chosen.size(); ++r)
      f(chosen[r], outputs, static_cast<index_t>(r));
  }
}

// Loss (without class weights and smoothing) and scores over a set of labelled examples. Throws
// input_error for a label that is no class of the model.
template <class Model>
evaluation evaluate(const Model& model, std::span<const example> data, int batch = 32) {
  detail::check_examples(model, data);
  confusion_matrix confusion(model.labels.size());
  double loss = 0;
  for_each_prediction(model, data, batch, [&](std::uint32_t i, const auto& y, index_t row) {
    double top = -std::numeric_limits<double>::infinity(), sum = 0;
    index_t choice = 0;
    for (index_t c = 0; c < y.cols; ++c)
      if (static_cast<double>(y(row, c)) > top) {
        top = static_cast<double>(y(row, c));
        choice = c;
      }
    for (index_t c = 0; c < y.cols; ++c)
      sum += std::exp(static_cast<double>(y(row, c)) - top);
    loss += top + std::log(sum) - static_cast<double>(y(row, data[i].label));
    confusion.add(data[i].label, static_cast<std::int32_t>(choice));
  });
  return evaluate_confusion(std::move(confusion),
                            data.empty() ? 0 : loss / static_cast<double>(data.size()));
}

// … of each task of a task_classifier, over its own examples and classes.
template <class Model>
std::vector<evaluation> evaluate_tasks(const Model& model, std::span<const example> data,
                                       int batch = 32) {
  detail::check_examples(model, data);
  std::vector<evaluation> found;
  for (std::size_t task = 0; task < model.tasks.size(); ++task) {
    example_list mine;
    std::copy_if(data.begin(), data.end(), std::back_inserter(mine),
                 [&](const example& e) { return e.task == task; });
    const evaluation all = evaluate(model, mine, batch);
    found.push_back(evaluate_confusion(
        block(all.confusion, static_cast<std::size_t>(model.first_label(task)),
              model.tasks[task].labels.size()),
        all.loss));
  }
  return found;
}

// Trains a classifier's trained parameters on `train`, evaluates on `dev` after every epoch, and
// leaves the parameters of the best epoch in the model; of the last one where `dev` is empty.
// `observe(fit_progress)` is called as described there.
//
// A step's loss is the mean over its examples, by their class weights, however many batches it
// accumulates, and the penalties of methods that have one. Equal seeds give equal runs, bit for
// bit, on one machine, engine and thread count. Throws input_error for an empty training set and
// for labels that are no class of the model, divergence_error when the loss is no finite number.
template <class Model, class Observer>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options, Observer&& observe) {
  using B = typename Model::backend_type;
  options.check();
  if (train.empty())
    throw input_error("fit: expected training examples, found none");
  if (!options.loss.class_weights.empty())
    expect_size("fit_options.loss.class_weights", static_cast<index_t>(model.labels.size()),
                static_cast<index_t>(options.loss.class_weights.size()));
  detail::check_examples(model, train);
  detail::check_examples(model, dev);

  typename B::workspace memory;
  typename Model::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  const auto parts = list_parts(model.network, gradient.gradient);
  optimizer<B> method(options.method, model.parameters, options.decay_everything);

  const auto batch = static_cast<std::size_t>(options.batch);
  const auto group = static_cast<std::size_t>(options.accumulate);
  const std::size_t batches = (train.size() + batch - 1) / batch;
  fit_report report;
  fit_progress now;
  now.steps = static_cast<std::int64_t>((batches + group - 1) / group) * options.epochs;
  report.gradient_bytes =
      static_cast<std::size_t>(gradient.values.size()) * sizeof(typename B::scalar);
  report.optimizer_bytes = method.state_bytes();

  typename B::parameter best;
  token_batch packed;
  std::vector<std::int32_t> labels;

  for (int epoch = 1; epoch <= options.epochs; ++epoch) {
    const batch_plan plan =
        plan_epoch(train, batch, options.seed, static_cast<std::uint64_t>(epoch), options.bucketed);
    double epoch_loss = 0, epoch_weight = 0;
    now.epoch = epoch;
    now.dev = nullptr;
    for (std::size_t from = 0; from < plan.size(); from += group) {
      const std::size_t until = std::min(from + group, plan.size());
      double weight = 0;
      for (std::size_t b = from; b < until; ++b) {
        detail::gather_labels(train, plan[b], labels);
        weight += options.loss.weight_of(labels);
      }
      gradient.clear();
      double loss = 0;
      for (std::size_t b = from; b < until; ++b) {
        pack(train, plan[b], model.config.first_position, packed);
        detail::gather_labels(train, plan[b], labels);
        const context<B> k{memory, packed.rows, true, options.seed,
                           static_cast<std::uint64_t>(now.step)};
        const auto outputs = model.network.template forward<training_demand>(packed, cache, k);
        auto r = options.loss.template operator()<B>(outputs, labels, k);
        const double share = weight > 0 ? options.loss.weight_of(labels) / weight : 0;
        if (until - from > 1)
          B::scale(r.gradient, static_cast<typename B::scalar>(share));
        loss += share * r.loss;
        if (!std::isfinite(r.loss))
          throw divergence_error(now.step + 1, "loss", r.loss);
        model.network.template backward<training_demand>(std::move(r.gradient), cache,
                                                         &gradient.gradient, k);
        now.tokens += packed.rows.rows();
      }
      loss += add_penalties(parts);
      const double norm = gradient_norm<B>(gradient.values);
      if (!std::isfinite(norm))
        throw divergence_error(now.step + 1, "gradient norm", norm);
      now.rate_factor = options.rate.factor(now.step, now.steps);
      const double scale = clip_factor(norm, options.clip);
      method.step(model.parameters, gradient.values, now.rate_factor, scale);
      ++now.step;
      after_step<typename Model::tuning_type>(model.network, gradient.gradient,
                                              {now.step, now.steps, scale});
      now.loss = loss;
      now.gradient_norm = norm;
      epoch_loss += loss * weight;
      epoch_weight += weight;
      observe(static_cast<const fit_progress&>(now));
    }

    report.epochs.push_back({epoch, epoch_weight > 0 ? epoch_loss / epoch_weight : 0,
                             evaluate(model, dev, options.evaluation_batch)});
    const evaluation& scored = report.epochs.back().dev;
    now.dev = &scored;
    observe(static_cast<const fit_progress&>(now));
    if (report.best_epoch == 0 || dev.empty() ||
        detail::better(options.monitor, scored, *report.best())) {
      report.best_epoch = epoch;
      if (model.parameters.size() > 0) {
        if (best.size() == 0)
          best = typename B::parameter(1, model.parameters.size());
        B::copy(best, model.parameters.values);
      }
    } else if (options.patience > 0 && epoch - report.best_epoch >= options.patience) {
      report.stopped_early = true;
      break;
    }
  }
  if (best.size() > 0)
    B::copy(model.parameters.values, best);
  report.steps = now.step;
  report.tokens = now.tokens;
  report.workspace_peak_bytes = memory.peak_bytes();
  return report;
}

template <class Model>
fit_report fit(Model& model, std::span<const example> train, std::span<const example> dev,
               const fit_options& options = {}) {
  return fit(model, train, dev, options, [](const fit_progress&) {});
}

}  // namespace graft
