// SPDX-License-Identifier: MIT
// A number for each sequence.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/correlation.hpp>
#include <graft/train/objective.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// The mean of (y − example.target)² over the batch. Scores: pearson and spearman. Throws input_error
// for a target that is no finite number.
struct regression {
  static constexpr bool same_each_epoch = true;
  struct tally {
    std::vector<double> found, wanted;
  };

  void check(std::span<const example> data) const;

  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           token_batch& batch, truth& t) const;
  double weight(const truth& t) const { return static_cast<double>(t.targets.size()); }
  bool separable() const { return true; }

  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const token_batch&,
                                       const truth& t, const context<B>& k) const {
    return mean_squared_error{}.operator()<B>(y, t.targets, k);
  }

  template <class Tensor>
  void count(tally& sums, const Tensor& y, const token_batch&, const truth& t) const {
    for (index_t row = 0; row < y.rows; ++row)
      sums.found.push_back(static_cast<double>(y(row, 0)));
    sums.wanted.insert(sums.wanted.end(), t.targets.begin(), t.targets.end());
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const { return {}; }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void regression::check(std::span<const example> data) const {
  for (std::size_t i = 0; i < data.size(); ++i)
    if (!std::isfinite(data[i].target))
      throw input_error(detail::example_text(i) + ": expected a finite target, found " +
                        std::to_string(data[i].target));
}

GRAFT_PLAIN void regression::add(const example& e, const example_turn& turn, std::int32_t first_position,
                                 token_batch& batch, truth& t) const {
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  t.targets.push_back(e.target);
}

GRAFT_PLAIN evaluation regression::evaluate(tally sums) const {
  double loss = 0;
  for (std::size_t i = 0; i < sums.found.size(); ++i)
    loss += (sums.found[i] - sums.wanted[i]) * (sums.found[i] - sums.wanted[i]);
  const auto n = static_cast<double>(sums.found.size());
  return {n > 0 ? loss / n : 0,
          {{"pearson", pearson(sums.found, sums.wanted)},
           {"spearman", spearman(sums.found, sums.wanted)}},
          confusion_matrix{}};
}

}  // namespace graft

#endif
