// SPDX-License-Identifier: MIT
// How good a model is on a set of examples.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/error.hpp>
#include <graft/model/tokens.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/metrics.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/process_group.hpp>
#include <graft/train/step_work.hpp>
#include <graft/train/task_objective.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

namespace graft {

namespace detail {

// The outputs of process `from`, in all of them.
template <class T>
void share_outputs(host_matrix<T>& y, int from, process_group& processes) {
  std::array<index_t, 2> shape{y.rows, y.cols};
  processes.broadcast(std::as_writable_bytes(std::span(shape)), from);
  y.rows = shape[0];
  y.cols = shape[1];
  y.values.resize(static_cast<std::size_t>(y.rows * y.cols));
  processes.broadcast(std::as_writable_bytes(std::span(y.values)), from);
}

// Calls f(chosen, outputs, input, truth) for all examples in batches, dropout off, with the outputs that
// predict(chosen, input, memory) returns. Several processes compute a batch each and tell each other.
template <class Model, class Objective, class Predict, class F>
void for_each_evaluated_batch(const Model& model, std::span<const example> data, int batch,
                              const Objective& what, process_group* processes, Predict&& predict,
                              F&& f) {
  using B = typename Model::backend_type;
  typename B::workspace memory;
  typename Model::input_type input;
  truth t;
  const std::size_t ranks = processes ? static_cast<std::size_t>(processes->size()) : 1;
  const std::size_t rank = processes ? static_cast<std::size_t>(processes->rank()) : 0;
  const batch_plan plan = plan_evaluation(data, static_cast<std::size_t>(batch));
  const auto pack = [&](const std::vector<std::uint32_t>& chosen) {
    input.clear();
    t.clear();
    for (const std::uint32_t i : chosen)
      what.add(data[i], {.number = i}, model.config.first_position, input, t);
  };
  for (std::size_t from = 0; from < plan.size(); from += ranks) {
    host_matrix<typename B::scalar> mine;
    if (from + rank < plan.size()) {
      pack(plan[from + rank]);
      mine = predict(plan[from + rank], input, memory);
    }
    for (std::size_t r = 0; r < ranks && from + r < plan.size(); ++r) {
      if (ranks == 1) {
        f(plan[from], mine, input, t);
        continue;
      }
      pack(plan[from + r]);
      host_matrix<typename B::scalar> y;
      if (r == rank)
        y = std::move(mine);
      share_outputs(y, static_cast<int>(r), *processes);
      f(plan[from + r], y, input, t);
    }
  }
}

template <class Model, class Objective, class Predict>
evaluation evaluate(const Model& model, std::span<const example> data, int batch,
                    const Objective& what, process_group* processes, Predict&& predict) {
  what.check(data);
  typename Objective::tally sums{};
  for_each_evaluated_batch(model, data, batch, what, processes, predict,
                           [&](const auto&, const auto& y, const auto& input, const truth& t) {
                             what.count(sums, y, input, t);
                           });
  return what.evaluate(std::move(sums));
}

}  // namespace detail

// Calls f(i, outputs, row) for every example i, in batches, dropout off: its outputs begin at that
// row, one row of them or, of a model that is asked of every token, as many as it has tokens.
template <class Model, class F>
void for_each_prediction(const Model& model, std::span<const example> data, int batch, F&& f) {
  using B = typename Model::backend_type;
  typename B::workspace memory;
  token_batch packed;
  for (const auto& chosen : plan_evaluation(data, static_cast<std::size_t>(batch))) {
    pack(data, chosen, model.config.first_position, packed);
    const auto outputs = detail::predicted(model, packed, memory);
    const bool by_token = outputs.rows != packed.rows.sequences();
    for (std::size_t r = 0; r < chosen.size(); ++r) {
      const auto s = static_cast<index_t>(r);
      f(chosen[r], outputs, by_token ? packed.rows.first(s) : s);
    }
  }
}

// Loss (without class weights and smoothing) and scores over a set of examples. Throws input_error for
// examples that the objective cannot take. With `processes`, all of them must call it and get the same.
template <class Model, class Objective>
evaluation evaluate(const Model& model, std::span<const example> data, int batch,
                    const Objective& what, process_group* processes = nullptr) {
  return detail::evaluate(model, data, batch, what, processes,
                          [&](const auto&, const auto& input, auto& memory) {
                            return detail::predicted(model, input, memory);
                          });
}
template <class Model>
evaluation evaluate(const Model& model, std::span<const example> data, int batch = 32) {
  return evaluate(model, data, batch, default_objective(model));
}

// … of each task of a task_classifier, over its own examples and classes.
template <class Model>
std::vector<evaluation> evaluate_tasks(const Model& model, std::span<const example> data,
                                       int batch = 32) {
  default_objective(model).check(data);
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
