// SPDX-License-Identifier: MIT
// One class for each sequence.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/objective.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// One of a model's tasks.
struct task_classes {
  std::string name;
  std::size_t classes = 0;
};

// Cross-entropy of example.label, with class weights and smoothing, averaged by class weight. The loss
// of an evaluation has neither. Scores: evaluate_confusion's. Takes labels below `classes`, and of a
// model with several tasks those of the example's own.
struct classification {
  static constexpr bool same_each_epoch = true;
  std::size_t classes = 0;
  cross_entropy loss_function{};
  std::vector<task_classes> tasks{};  // empty: one

  struct tally {
    confusion_matrix confusion;
    double loss = 0;
  };

  void check(std::span<const example> data) const;

  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           token_batch& batch, truth& t) const;
  // A sequence that counts for nothing.
  void pad(index_t length, std::int32_t first_position, token_batch& batch, truth& t) const;
  double weight(const truth& t) const { return loss_function.weight_of(t.labels); }
  bool separable() const { return true; }

  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const token_batch&,
                                       const truth& t, const context<B>& k) const {
    return loss_function.operator()<B>(y, t.labels, k);
  }

  template <class Tensor>
  void count(tally& sums, const Tensor& y, const token_batch&, const truth& t) const {
    if (sums.confusion.classes() == 0)
      sums.confusion = confusion_matrix(classes);
    for (index_t row = 0; row < y.rows; ++row) {
      const std::int32_t label = t.labels[static_cast<std::size_t>(row)];
      const auto found = detail::summary_of(y, row);
      sums.loss += found.log_sum - static_cast<double>(y(row, label));
      sums.confusion.add(label, static_cast<std::int32_t>(found.top));
    }
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const;

 private:
  // The classes of a task: from the first to below the second.
  std::pair<std::int32_t, std::int32_t> range_of(std::size_t i, std::size_t task) const;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void classification::check(std::span<const example> data) const {
  detail::check_class_weights(loss_function, classes);
  for (std::size_t i = 0; i < data.size(); ++i) {
    const example& e = data[i];
    const auto [first, next] = range_of(i, e.task);
    if (e.label < first || e.label >= next)
      throw input_error(detail::example_text(i) +
                        (tasks.empty() ? ": expected a label below " + std::to_string(next)
                                       : " of task " + tasks[e.task].name +
                                             ": expected a label from " + std::to_string(first) +
                                             " to " + std::to_string(next - 1)) +
                        ", found " + std::to_string(e.label));
  }
}

GRAFT_PLAIN void classification::add(const example& e, const example_turn& turn, std::int32_t first_position,
                                     token_batch& batch, truth& t) const {
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  t.labels.push_back(e.label);
}

GRAFT_PLAIN void classification::pad(index_t length, std::int32_t first_position, token_batch& batch,
                                     truth& t) const {
  detail::pad_tokens(length, first_position, batch);
  t.labels.push_back(loss_function.ignored);
}

GRAFT_PLAIN evaluation classification::evaluate(tally sums) const {
  const auto n = static_cast<double>(sums.confusion.total());
  return evaluate_confusion(std::move(sums.confusion), n > 0 ? sums.loss / n : 0);
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> classification::numbers() const {
  return detail::numbers_of(loss_function);
}

GRAFT_PLAIN std::pair<std::int32_t, std::int32_t> classification::range_of(std::size_t i,
                                                                           std::size_t task) const {
  if (tasks.empty())
    return {0, static_cast<std::int32_t>(classes)};
  if (task >= tasks.size())
    throw input_error(detail::example_text(i) + ": expected a task below " +
                      std::to_string(tasks.size()) + ", found " + std::to_string(task));
  std::size_t first = 0;
  for (std::size_t t = 0; t < task; ++t)
    first += tasks[t].classes;
  return {static_cast<std::int32_t>(first),
          static_cast<std::int32_t>(first + tasks[task].classes)};
}

}  // namespace graft

#endif
