// SPDX-License-Identifier: MIT
// One class for each token: names in a sentence, chunks, slots, parts of speech.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/span_metrics.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// Cross-entropy of example.labels, averaged over the tokens of the batch that are asked, by class
// weight. `names` are the classes'. Scores: f1, precision and recall of the spans that the names make
// (span_counts), all types counted together, and accuracy over tokens. Throws input_error for another
// number of labels than of tokens, and for a label that is neither a class nor −100.
struct token_classification {
  static constexpr bool same_each_epoch = true;
  std::vector<std::string> names{};
  cross_entropy loss_function{};

  struct tally {
    span_counts spans;
    std::int64_t hits = 0, asked = 0;
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
  void count(tally& sums, const Tensor& y, const token_batch& batch, const truth& t) const {
    std::vector<std::int32_t> found;
    for (index_t s = 0; s < batch.rows.sequences(); ++s) {
      const auto first = static_cast<std::size_t>(batch.rows.first(s));
      const std::span labels = std::span(t.labels).subspan(
          first, static_cast<std::size_t>(batch.rows.length(s)));
      found.assign(labels.size(), 0);
      for (std::size_t i = 0; i < labels.size(); ++i) {
        const auto row = static_cast<index_t>(first + i);
        const auto summary = detail::summary_of(y, row);
        found[i] = static_cast<std::int32_t>(summary.top);
        if (labels[i] == loss_function.ignored)
          continue;
        sums.loss += summary.log_sum - static_cast<double>(y(row, labels[i]));
        sums.hits += found[i] == labels[i] ? 1 : 0;
        ++sums.asked;
      }
      sums.spans.add(labels, found, names, loss_function.ignored);
    }
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void token_classification::check(std::span<const example> data) const {
  detail::check_class_weights(loss_function, names.size());
  for (std::size_t i = 0; i < data.size(); ++i) {
    const example& e = data[i];
    if (e.labels.size() != e.ids.size())
      throw input_error(detail::example_text(i) + ": expected a label for each of " +
                        std::to_string(e.ids.size()) + " tokens, found " +
                        std::to_string(e.labels.size()));
    for (const std::int32_t label : e.labels)
      if (label != loss_function.ignored &&
          (label < 0 || static_cast<std::size_t>(label) >= names.size()))
        throw input_error(detail::example_text(i) + ": expected labels below " +
                          std::to_string(names.size()) + " or " +
                          std::to_string(loss_function.ignored) + ", found " +
                          std::to_string(label));
  }
}

GRAFT_PLAIN void token_classification::add(const example& e, const example_turn& turn,
                                           std::int32_t first_position,
                                           token_batch& batch, truth& t) const {
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  t.labels.insert(t.labels.end(), e.labels.begin(), e.labels.end());
}

GRAFT_PLAIN void token_classification::pad(index_t length, std::int32_t first_position, token_batch& batch,
                                           truth& t) const {
  detail::pad_tokens(length, first_position, batch);
  t.labels.insert(t.labels.end(), static_cast<std::size_t>(length), loss_function.ignored);
}

GRAFT_PLAIN evaluation token_classification::evaluate(tally sums) const {
  const auto n = static_cast<double>(sums.asked);
  const class_scores s = micro_scores(sums.spans);
  return {n > 0 ? sums.loss / n : 0,
          {{"f1", s.f1},
           {"precision", s.precision},
           {"recall", s.recall},
           {"accuracy", n > 0 ? static_cast<double>(sums.hits) / n : 0}},
          confusion_matrix{}};
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> token_classification::numbers() const {
  return detail::numbers_of(loss_function);
}

}  // namespace graft

#endif
