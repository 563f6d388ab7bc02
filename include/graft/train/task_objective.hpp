// SPDX-License-Identifier: MIT
// The objective that a model's task_kind asks for, chosen when the program runs.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/model/task_kind.hpp>
#include <graft/train/classification.hpp>
#include <graft/train/question_answering.hpp>
#include <graft/train/regression.hpp>
#include <graft/train/similarity.hpp>
#include <graft/train/token_classification.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace graft {

// One of four; see theirs.
struct task_objective {
  static constexpr bool same_each_epoch = true;
  std::variant<classification, regression, token_classification, question_answering> kind{};

  using tally = std::variant<std::monostate, classification::tally, regression::tally,
                             token_classification::tally, question_answering::tally>;

  void check(std::span<const example> data) const;
  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           token_batch& batch, truth& t) const;
  // Nothing for regression, whose every sequence counts.
  void pad(index_t length, std::int32_t first_position, token_batch& batch, truth& t) const;
  double weight(const truth& t) const;
  bool separable() const { return true; }

  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const token_batch& batch,
                                       const truth& t, const context<B>& k) const {
    return std::visit([&](const auto& o) { return o.template loss<B>(y, batch, t, k); }, kind);
  }
  template <class Tensor>
  void count(tally& sums, const Tensor& y, const token_batch& batch, const truth& t) const {
    std::visit(
        [&]<class O>(const O& o) {
          if (std::holds_alternative<std::monostate>(sums))
            sums = typename O::tally{};
          o.count(std::get<typename O::tally>(sums), y, batch, t);
        },
        kind);
  }
  evaluation evaluate(tally sums) const;
  std::vector<std::pair<std::string, double>> numbers() const;
};

// With `loss` where there are classes, whose names `labels` are. Throws input_error where it asks for
// something that the task does not have.
GRAFT_PLAIN task_objective objective_for(task_kind kind, const std::vector<std::string>& labels,
                                         const cross_entropy& loss = {});

// What a model is trained for unless it is told otherwise: one with a head for config.task, a sentence
// encoder for similarity. Throws as objective_for does.
template <class Model>
auto default_objective(const Model& model, const cross_entropy& loss = {}) {
  if constexpr (requires { model.labels; }) {
    task_objective what = objective_for(model.config.task, model.labels, loss);
    if constexpr (requires { model.tasks; })
      for (const auto& task : model.tasks)
        std::get<classification>(what.kind).tasks.push_back({task.name, task.labels.size()});
    return what;
  } else {
    if (!loss.class_weights.empty() || loss.smoothing != 0)
      throw input_error("loss: expected neither class weights nor smoothing for similarity, which "
                        "has no classes");
    return similarity{};
  }
}

template <class Model>
using default_objective_t = decltype(default_objective(std::declval<const Model&>()));

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN task_objective objective_for(task_kind kind, const std::vector<std::string>& labels,
                                         const cross_entropy& loss) {
  if (kind == task_kind::classification)
    return {classification{labels.size(), loss}};
  if (kind == task_kind::token_classification)
    return {token_classification{labels, loss}};
  if (!loss.class_weights.empty() || loss.smoothing != 0)
    throw input_error("loss: expected neither class weights nor smoothing for " +
                      std::string(name_of(kind)) + ", which has no classes");
  if (kind == task_kind::regression)
    return {regression{}};
  return {question_answering{}};
}

GRAFT_PLAIN void task_objective::check(std::span<const example> data) const {
  std::visit([&](const auto& o) { o.check(data); }, kind);
}

GRAFT_PLAIN void task_objective::add(const example& e, const example_turn& turn, std::int32_t first_position,
                                     token_batch& batch, truth& t) const {
  std::visit([&](const auto& o) { o.add(e, turn, first_position, batch, t); }, kind);
}

GRAFT_PLAIN void task_objective::pad(index_t length, std::int32_t first_position, token_batch& batch,
                                     truth& t) const {
  std::visit(
      [&](const auto& o) {
        if constexpr (requires { o.pad(length, first_position, batch, t); })
          o.pad(length, first_position, batch, t);
      },
      kind);
}

GRAFT_PLAIN double task_objective::weight(const truth& t) const {
  return std::visit([&](const auto& o) { return o.weight(t); }, kind);
}

GRAFT_PLAIN evaluation task_objective::evaluate(tally sums) const {
  return std::visit(
      [&]<class O>(const O& o) {
        if (std::holds_alternative<std::monostate>(sums))
          return o.evaluate({});
        return o.evaluate(std::get<typename O::tally>(std::move(sums)));
      },
      kind);
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> task_objective::numbers() const {
  return std::visit([](const auto& o) { return o.numbers(); }, kind);
}

}  // namespace graft

#endif
