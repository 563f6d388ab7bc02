// SPDX-License-Identifier: MIT
// What training makes small.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/context.hpp>
#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/reading.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// A loss and its gradient with respect to the outputs it was computed from.
template <class Tensor>
struct loss_result {
  reading loss;
  Tensor gradient;
};

// Cross-entropy over classes, as PyTorch's: mean over the rows that count, each weighted by its class,
//   −Σ_c q_c log softmax(y)_c with q = (1 − smoothing) · one-hot + smoothing / classes.
// Labels equal to `ignored` do not count.
struct cross_entropy {
  std::vector<double> class_weights{};  // empty: all 1
  double smoothing = 0;
  std::int32_t ignored = -100;

  // What the rows that count weigh together: what the mean divides by.
  double weight_of(std::span<const std::int32_t> labels) const;

  // outputs [n, classes], one label per row. Throws input_error for a label that is no class.
  template <class B>
  loss_result<typename B::tensor> operator()(const typename B::tensor& outputs,
                                             std::span<const std::int32_t> labels,
                                             const context<B>& k) const {
    using scalar = typename B::scalar;
    expect_size("cross_entropy: labels", outputs.rows, static_cast<index_t>(labels.size()));
    if (!class_weights.empty())
      expect_size("cross_entropy: class weights", outputs.cols,
                  static_cast<index_t>(class_weights.size()));
    for (std::int32_t label : labels)
      if (label != ignored && (label < 0 || label >= outputs.cols))
        throw input_error("cross_entropy: expected labels below " + std::to_string(outputs.cols) +
                          ", found " + std::to_string(label));
    const std::vector<scalar> weights(class_weights.begin(), class_weights.end());
    loss_result<typename B::tensor> r;
    r.gradient = k.make_exact(outputs.rows, outputs.cols);
    r.loss = B::cross_entropy(r.gradient, outputs,
                              cross_entropy_call<scalar>{.labels = labels,
                                                         .weights = weights,
                                                         .smoothing = static_cast<scalar>(smoothing),
                                                         .ignored = ignored});
    return r;
  }
};

// The mean over all elements of (output − target)².
struct mean_squared_error {
  // outputs [n, m], targets row after row.
  template <class B>
  loss_result<typename B::tensor> operator()(const typename B::tensor& outputs,
                                             std::span<const double> targets,
                                             const context<B>& k) const {
    expect_size("mean_squared_error: targets", outputs.rows * outputs.cols,
                static_cast<index_t>(targets.size()));
    typename B::tensor wanted = k.make_exact(outputs.rows, outputs.cols);
    B::from_host(wanted, targets);
    loss_result<typename B::tensor> r;
    r.gradient = k.make_exact(outputs.rows, outputs.cols);
    r.loss = B::squared_error(r.gradient, outputs, wanted);
    return r;
  }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN double cross_entropy::weight_of(std::span<const std::int32_t> labels) const {
  double sum = 0;
  for (std::int32_t label : labels)
    if (label != ignored)
      sum += class_weights.empty() ? 1 : class_weights.at(static_cast<std::size_t>(label));
  return sum;
}

}  // namespace graft

#endif
