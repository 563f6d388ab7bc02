// SPDX-License-Identifier: MIT
// How good a classifier is on a set of labelled examples.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/error.hpp>
#include <graft/model/tokens.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/metrics.hpp>

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

namespace detail {

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

}  // namespace graft
