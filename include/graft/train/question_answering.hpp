// SPDX-License-Identifier: MIT
// Where in a text does the answer to a question stand?
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/padding.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// Tokens of a text, counted from its beginning, both included; −1, −1: none. `score` is the sum of the
// logits of first and last; `none` that of the example's first token, which stands for "not here".
struct found_answer {
  std::int32_t first = -1, last = -1;
  double score = -std::numeric_limits<double>::infinity();
  double none = std::numeric_limits<double>::infinity();

  // The better one of two stretches of a text; "not here" must be said of all.
  void join(const found_answer& other) {
    if (other.score > score) {
      first = other.first;
      last = other.last;
      score = other.score;
    }
    none = std::min(none, other.none);
  }
};

// The best answer of at most `longest` tokens in an example whose outputs are the rows of y from `row`
// on: logits of being the first token and of being the last.
template <class Tensor>
found_answer best_answer(const Tensor& y, index_t row, const answer_place& at, int longest) {
  found_answer best;
  best.none = static_cast<double>(y(row, 0)) + static_cast<double>(y(row, 1));
  for (std::int32_t first = 0; first < at.context_rows; ++first)
    for (std::int32_t last = first; last < std::min(first + longest, at.context_rows); ++last) {
      const double score = static_cast<double>(y(row + at.context_row + first, 0)) +
                           static_cast<double>(y(row + at.context_row + last, 1));
      if (score > best.score) {
        best.first = at.context_token + first;
        best.last = at.context_token + last;
        best.score = score;
      }
    }
  return best;
}

// The mean of two cross-entropies over an example's tokens: which is the answer's first, which its
// last (Devlin et al. 2019, arXiv:1810.04805). Scores, over questions: token_f1 of the tokens found and
// token_exact_match, both of the first true answer; of the stretches of a question the best answer
// counts. Those of words, over all true answers, are in text/answer_metrics.hpp. With `unanswerable` a question
// may have none, and "not here" wins where it scores higher (Rajpurkar et al. 2018, arXiv:1806.03822).
// Throws input_error for an answer outside its example.
struct question_answering {
  static constexpr bool same_each_epoch = true;
  int longest = 30;  // tokens of an answer
  bool unanswerable = false;

  struct tally {
    struct answers {
      found_answer found;
      std::int32_t first = -1, last = -1;
    };
    std::map<std::uint32_t, answers> questions;
    double loss = 0;
    std::int64_t examples = 0;
  };

  void check(std::span<const example> data) const;

  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           token_batch& batch, truth& t) const;
  // A sequence that counts for nothing.
  void pad(index_t length, std::int32_t first_position, token_batch& batch, truth& t) const;
  double weight(const truth& t) const { return static_cast<double>(t.answers.size()); }
  bool separable() const { return true; }

  // The scores of one sequence for being first, and for being last, become a row each.
  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const token_batch& batch,
                                       const truth& t, const context<B>& k) const {
    using scalar = typename B::scalar;
    expect_size("question_answering: outputs", 2, y.cols);
    const layout& rows = batch.rows;
    index_t longest_sequence = 0;
    for (index_t s = 0; s < rows.sequences(); ++s)
      longest_sequence = std::max(longest_sequence, rows.length(s));
    longest_sequence = bucket_of(longest_sequence);
    const auto none = static_cast<std::int32_t>(2 * y.rows);  // a score of −∞: no token
    std::vector<std::int32_t> places, labels;
    for (index_t s = 0; s < rows.sequences(); ++s)
      for (index_t column = 0; column < 2; ++column) {
        for (index_t i = 0; i < longest_sequence; ++i)
          places.push_back(i < rows.length(s)
                               ? static_cast<std::int32_t>(2 * (rows.first(s) + i) + column)
                               : none);
        const answer_place& a = t.answers[static_cast<std::size_t>(s)];
        labels.push_back(column == 0 ? a.first : a.last);
      }
    const std::span<const std::int32_t> ids(places);

    typename B::tensor scores = k.make(2 * y.rows + 1, 1);
    B::fill(scores, -std::numeric_limits<scalar>::infinity());
    B::copy(scores.shaped(y.rows, 2), y);
    typename B::tensor each = k.make(2 * rows.sequences() * longest_sequence, 1);
    B::gather(each, scores, ids, false);
    typename B::tensor each_gradient = k.make_exact(each.rows, 1);
    loss_result<typename B::tensor> r;
    r.loss = B::cross_entropy(by_sequence(each_gradient, longest_sequence),
                              by_sequence(each, longest_sequence),
                              cross_entropy_call<scalar>{.labels = labels});
    typename B::tensor slopes = k.make_exact(scores.rows, 1);
    B::fill(slopes, 0);
    B::scatter_add(slopes, each_gradient, ids);
    r.gradient = k.make_exact(y.rows, 2);
    B::copy(r.gradient, slopes.shaped(y.rows, 2));
    return r;
  }

  template <class Tensor>
  void count(tally& sums, const Tensor& y, const token_batch& batch, const truth& t) const {
    for (index_t s = 0; s < batch.rows.sequences(); ++s) {
      const index_t row = batch.rows.first(s);
      const answer_place& a = t.answers[static_cast<std::size_t>(s)];
      for (index_t column = 0; column < 2; ++column) {
        double top = -std::numeric_limits<double>::infinity(), sum = 0;
        for (index_t i = row; i < batch.rows.first(s + 1); ++i)
          top = std::max(top, static_cast<double>(y(i, column)));
        for (index_t i = row; i < batch.rows.first(s + 1); ++i)
          sum += std::exp(static_cast<double>(y(i, column)) - top);
        sums.loss += (top + std::log(sum) -
                      static_cast<double>(y(row + (column == 0 ? a.first : a.last), column))) /
                     2;
      }
      ++sums.examples;
      auto& question = sums.questions[a.question];
      question.found.join(best_answer(y, row, a, longest));
      question.first = a.true_first;
      question.last = a.true_last;
    }
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const;

 private:
  template <class Tensor>
  static auto by_sequence(const Tensor& x, index_t length) {
    return x.shaped(length > 0 ? x.rows / length : 0, length);
  }
  // F1 of two stretches of tokens; of two that are none 1.
  static double overlap(std::int32_t a, std::int32_t b, std::int32_t c, std::int32_t d) {
    if (a < 0 || c < 0)
      return a < 0 && c < 0 ? 1 : 0;
    const double common = std::max(0, std::min(b, d) - std::max(a, c) + 1);
    return 2 * common / static_cast<double>((b - a + 1) + (d - c + 1));
  }
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void question_answering::check(std::span<const example> data) const {
  for (std::size_t i = 0; i < data.size(); ++i) {
    const answer_place& a = data[i].answer;
    const auto n = static_cast<std::int32_t>(data[i].ids.size());
    if (a.first < 0 || a.last < a.first || a.last >= n)
      throw input_error(detail::example_text(i) + ": expected an answer within " +
                        std::to_string(n) + " tokens, found " + std::to_string(a.first) +
                        " to " + std::to_string(a.last));
    if (a.context_row < 0 || a.context_rows < 0 || a.context_row + a.context_rows > n)
      throw input_error(detail::example_text(i) + ": expected the text's tokens within " +
                        std::to_string(n) + ", found " + std::to_string(a.context_rows) +
                        " from " + std::to_string(a.context_row) + " on");
  }
}

GRAFT_PLAIN void question_answering::add(const example& e, const example_turn& turn,
                                         std::int32_t first_position,
                                         token_batch& batch, truth& t) const {
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  t.answers.push_back(e.answer);
}

GRAFT_PLAIN void question_answering::pad(index_t length, std::int32_t first_position, token_batch& batch,
                                         truth& t) const {
  detail::pad_tokens(length, first_position, batch);
  t.answers.push_back({.first = cross_entropy{}.ignored, .last = cross_entropy{}.ignored});
}

GRAFT_PLAIN evaluation question_answering::evaluate(tally sums) const {
  double f1 = 0, exact = 0;
  for (const auto& [number, q] : sums.questions) {
    const bool refused = unanswerable && q.found.none > q.found.score;
    const std::int32_t first = refused ? -1 : q.found.first, last = refused ? -1 : q.found.last;
    exact += first == q.first && last == q.last ? 1 : 0;
    f1 += overlap(first, last, q.first, q.last);
  }
  const auto n = static_cast<double>(std::max<std::size_t>(sums.questions.size(), 1));
  const auto examples = static_cast<double>(std::max<std::int64_t>(sums.examples, 1));
  return {sums.loss / examples, {{"token_f1", f1 / n}, {"token_exact_match", exact / n}}, confusion_matrix{}};
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> question_answering::numbers() const {
  return {{"longest", longest}, {"unanswerable", unanswerable ? 1 : 0}};
}

}  // namespace graft

#endif
