// SPDX-License-Identifier: MIT
// What a training is but for its model, data and options: where it stands, and what its steps change.
#pragma once

#include <graft/core/view.hpp>
#include <graft/train/fit_options.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// Where a training stands: with training_values and the options all that is needed to go on. The next
// batch is number `batch` of the epoch's plan.
struct training_position {
  int epoch = 1;
  std::size_t batch = 0;
  std::int64_t step = 0, tokens = 0;
  double epoch_loss = 0, epoch_weight = 0;  // of this epoch so far
  int best_epoch = 0;
  bool stopped_early = false;
  std::vector<epoch_report> epochs;
};

// What the steps of a training change: tensors of `size` numbers, of which one without any is not there
// yet and may be given some, and what decorations remember.
template <class B>
struct training_values {
  index_t size = 0;
  std::vector<std::pair<std::string, typename B::parameter*>> tensors;
  std::vector<std::pair<std::string, std::vector<typename B::scalar>*>> memories;
};

namespace detail {

// A score of which more is better.
inline double monitored(const std::string& monitor, const evaluation& e) {
  if (monitor == "loss" || e.scores.empty())
    return -e.loss;
  return monitor.empty() ? e.scores.front().second : e.score(monitor);
}

// Equal scores are decided by the loss where the score need not be better by anything.
inline bool better(const fit_options& o, const evaluation& a, const evaluation& b) {
  const double now = monitored(o.monitor, a), best = monitored(o.monitor, b);
  return now > best + o.minimum_delta ||
         (o.minimum_delta == 0 && now == best && a.loss < b.loss);
}

}  // namespace detail

}  // namespace graft
