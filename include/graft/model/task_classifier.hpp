// SPDX-License-Identifier: MIT
// A classifier for several tasks over one encoder.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/store.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/to_backend.hpp>

#include <graft/model/model.hpp>
#include <graft/model/task_heads.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// A name, and those of the classes.
struct task {
  std::string name;
  std::vector<std::string> labels;
};

namespace detail {

// How many classes each task has.
inline std::vector<index_t> label_counts(const std::vector<task>& tasks) {
  if (tasks.empty())
    throw input_error("task_classifier: expected tasks, found none");
  std::vector<index_t> counts;
  for (const task& t : tasks) {
    if (t.labels.empty())
      throw input_error("task_classifier: task " + t.name + ": expected labels, found none");
    if (std::count_if(tasks.begin(), tasks.end(),
                      [&](const task& other) { return other.name == t.name; }) > 1)
      throw input_error("task_classifier: expected tasks of different names, found " + t.name +
                        " twice");
    counts.push_back(static_cast<index_t>(t.labels.size()));
  }
  return counts;
}

// The classes of all tasks, one task's after another's, as "task/label".
inline std::vector<std::string> labels_of(const std::vector<task>& tasks) {
  std::vector<std::string> labels;
  for (const task& t : tasks)
    for (const std::string& label : t.labels)
      labels.push_back(t.name + "/" + label);
  return labels;
}

}  // namespace detail

// bert_classifier with a head for each task. Every sequence of a batch is of one task and gets the
// logits of its classes, −∞ for those of the others; compose::by_task gives each task an adapter of
// its own, whatever else is trained is common to all. fit and evaluate take it as it is, examples
// of all tasks mixed. `labels` names the classes of all tasks.
//
// Throws input_error for no tasks, a task without labels, two of one name, and a configuration for
// anything but classification.
template <backend B, tuning T = untuned, norm_order Order = norm_order::after>
struct task_classifier : model<bert_classifier_network<B, T, Order, task_heads>> {
  using base = model<bert_classifier_network<B, T, Order, task_heads>>;
  using tuning_type = T;

  bert_config config;
  std::vector<task> tasks;
  std::vector<std::string> labels;

  task_classifier() = default;
  // Freshly initialised from `seed`.
  task_classifier(const bert_config& c, std::vector<task> all, std::uint64_t seed = 0,
                  const decoration_numbers& numbers = {}, base_values values = base_values::fresh)
      : base(bert_classifier_network<B, T, Order, task_heads>(c, detail::label_counts(all)), seed,
             numbers, values),
        config(c),
        tasks(std::move(all)),
        labels(detail::labels_of(tasks)) {
    if (c.task != task_kind::classification)
      throw input_error("task_classifier: expected a configuration for classification, found one for " +
                        std::string(name_of(c.task)));
  }

  // Where the classes of a task begin among all.
  std::int32_t first_label(std::size_t task) const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < task; ++i)
      n += tasks[i].labels.size();
    return static_cast<std::int32_t>(n);
  }
  std::int32_t label_of(std::size_t task, std::int32_t label) const {
    return first_label(task) + label;
  }

  // The same under another tuning, without the values of the base.
  template <tuning To>
  task_classifier<B, To, Order> under(std::uint64_t seed, const decoration_numbers& numbers = {}) const {
    return {config, tasks, seed, numbers, base_values::from_checkpoint};
  }

  // The same over another backend (model/to_backend.hpp).
  template <backend To>
  task_classifier<To, T, Order> to() const {
    task_classifier<To, T, Order> copy(config, tasks, this->initial_seed, {}, base_values::from_checkpoint);
    detail::become(copy, *this);
    return copy;
  }

  task_classifier clone() const {
    task_classifier copy;
    base::clone_into(copy);
    copy.config = config;
    copy.tasks = tasks;
    copy.labels = labels;
    return copy;
  }
};

}  // namespace graft
