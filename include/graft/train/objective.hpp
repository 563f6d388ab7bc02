// SPDX-License-Identifier: MIT
// What a model is trained for: how examples become a batch, what the outputs are compared with, and
// what counts as good.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layout.hpp>
#include <graft/core/plain.hpp>
#include <graft/model/tokens.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/metrics.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// What the outputs of a batch are compared with; an objective fills what it needs.
struct truth {
  std::vector<std::int32_t> labels;
  std::vector<double> targets;
  std::vector<answer_place> answers;

  void clear() {
    labels.clear();
    targets.clear();
    answers.clear();
  }
};

// Whose example it is, for what an objective draws by chance.
struct example_turn {
  std::uint32_t number = 0;  // in its data set
  std::uint64_t seed = 0;
  int epoch = 0;  // from 1; 0 while evaluating
};

// With `batch` what the model takes, `t` the truth of it, `y` the model's outputs:
//
//   check(data)                              throws input_error for an example that it cannot take
//   add(example, turn, first_position, batch, t)   one more example
//   weight(t)                                how much a batch counts in a step's mean
//   separable()                              is a batch's loss the mean of its examples' own?
//   loss<B>(y, batch, t, k)                  the mean over the batch, and its gradient
//   tally                                    sums over batches, empty at the beginning
//   count(tally, y, batch, t)                one more batch
//   evaluate(tally)                          the loss and scores over all
//   pad(length, first_position, batch, t)    may be missing: one more sequence, that counts for nothing
//   numbers()                                what makes two objectives of one type differ
//   same_each_epoch                          may be missing: true where what add makes of an example does not
//                                            depend on its turn's epoch or seed
template <class O, class B, class Batch>
concept objective = requires(const O o, std::span<const example> data, const example& e, Batch& batch,
                             truth& t, const typename B::tensor& y, const context<B>& k,
                             typename O::tally& sums) {
  o.check(data);
  o.add(e, example_turn{}, std::int32_t{}, batch, t);
  { o.weight(t) } -> std::convertible_to<double>;
  { o.separable() } -> std::same_as<bool>;
  { o.template loss<B>(y, batch, t, k) } -> std::same_as<loss_result<typename B::tensor>>;
  o.count(sums, y, batch, t);
  { o.evaluate(std::move(sums)) } -> std::same_as<evaluation>;
  { o.numbers() } -> std::convertible_to<std::vector<std::pair<std::string, double>>>;
};

namespace detail {

// The numbers of a cross-entropy's settings.
GRAFT_PLAIN std::vector<std::pair<std::string, double>> numbers_of(const cross_entropy& loss);

// log Σ exp of a row of scores, and the greatest.
struct row_summary {
  index_t top = 0;
  double log_sum = 0;
};

template <class Tensor>
row_summary summary_of(const Tensor& y, index_t row) {
  row_summary s;
  for (index_t c = 1; c < y.cols; ++c)
    if (y(row, c) > y(row, s.top))
      s.top = c;
  const double top = static_cast<double>(y(row, s.top));
  double sum = 0;
  for (index_t c = 0; c < y.cols; ++c)
    sum += std::exp(static_cast<double>(y(row, c)) - top);
  s.log_sum = top + std::log(sum);
  return s;
}

// One more sequence of tokens, whatever they are.
GRAFT_PLAIN void pad_tokens(index_t length, std::int32_t first_position, token_batch& batch);

// "example 3" and the like, for messages.
inline std::string example_text(std::size_t i) { return "example " + std::to_string(i); }

GRAFT_PLAIN void check_class_weights(const cross_entropy& loss, std::size_t classes);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::vector<std::pair<std::string, double>> numbers_of(const cross_entropy& loss) {
  std::vector<std::pair<std::string, double>> numbers{{"smoothing", loss.smoothing}};
  for (const double w : loss.class_weights)
    numbers.emplace_back("class_weight", w);
  return numbers;
}

GRAFT_PLAIN void pad_tokens(index_t length, std::int32_t first_position, token_batch& batch) {
  const std::vector<std::int32_t> tokens(static_cast<std::size_t>(length));
  batch.append(tokens, {}, ~std::uint32_t{0}, first_position);
}

GRAFT_PLAIN void check_class_weights(const cross_entropy& loss, std::size_t classes) {
  if (!loss.class_weights.empty())
    expect_size("class_weights", static_cast<index_t>(classes),
                static_cast<index_t>(loss.class_weights.size()));
}

}  // namespace detail

}  // namespace graft

#endif
