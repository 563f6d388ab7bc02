// SPDX-License-Identifier: MIT
// Tokens are hidden, a masked language model says which they were.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/padding.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft {

// How tokens are hidden. Of the tokens asked for, `masked` become `mask_id`, `random` become any
// token of the vocabulary, the others stay. Devlin et al. 2019, arXiv:1810.04805.
struct masking {
  std::int32_t mask_id = 0;
  std::int32_t vocabulary = 0;
  std::vector<std::int32_t> special{};  // ids that are neither asked for nor put in
  double share = 0.15;                  // of a text's tokens, at least one where there is any
  double masked = 0.8;
  double random = 0.1;

  bool is_special(std::int32_t id) const {
    return std::find(special.begin(), special.end(), id) != special.end();
  }
};

// Cross-entropy of the hidden tokens, averaged over those of the batch. What is hidden in an example
// follows from seed, epoch and its number; while evaluating it is always the same. Scores: accuracy.
// perplexity(loss) is the field's other figure. Throws input_error for examples without any token that
// may be asked for and for a vocabulary without any that may be put in.
struct masked_language {
  masking how;

  struct tally {
    double loss = 0;
    std::int64_t hits = 0, asked = 0;
  };

  void check(std::span<const example> data) const;

  void add(const example& e, const example_turn& turn, std::int32_t first_position,
           masked_batch& batch, truth& t) const;
  // A sequence that counts for nothing, and as many tokens to guess as other batches have.
  void pad(index_t length, std::int32_t first_position, masked_batch& batch, truth& t) const;
  double weight(const truth& t) const { return static_cast<double>(t.labels.size()); }
  bool separable() const { return true; }

  template <class B>
  loss_result<typename B::tensor> loss(const typename B::tensor& y, const masked_batch&,
                                       const truth& t, const context<B>& k) const {
    return cross_entropy{}.operator()<B>(y, t.labels, k);
  }

  template <class Tensor>
  void count(tally& sums, const Tensor& y, const masked_batch&, const truth& t) const {
    for (index_t row = 0; row < y.rows; ++row) {
      const std::int32_t label = t.labels[static_cast<std::size_t>(row)];
      const auto found = detail::summary_of(y, row);
      sums.loss += found.log_sum - static_cast<double>(y(row, label));
      sums.hits += found.top == label ? 1 : 0;
      ++sums.asked;
    }
  }
  evaluation evaluate(tally sums) const;

  std::vector<std::pair<std::string, double>> numbers() const;
};

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN void masked_language::check(std::span<const example> data) const {
  if (how.vocabulary <= static_cast<std::int32_t>(how.special.size()))
    throw input_error("masking: expected a vocabulary of more than the " +
                      std::to_string(how.special.size()) + " special tokens, found " +
                      std::to_string(how.vocabulary));
  const bool any = std::any_of(data.begin(), data.end(), [&](const example& text) {
    return !std::all_of(text.ids.begin(), text.ids.end(),
                        [&](std::int32_t id) { return how.is_special(id); });
  });
  if (!data.empty() && !any)
    throw input_error("masked_language: expected texts with tokens, found none");
}

GRAFT_PLAIN void masked_language::add(const example& e, const example_turn& turn, std::int32_t first_position,
                                      masked_batch& batch, truth& t) const {
  const auto first = static_cast<std::int32_t>(batch.ids.size());
  batch.append(e.ids, e.types, turn.number, first_position, e.task);
  std::vector<std::int32_t> places;
  for (std::size_t i = 0; i < e.ids.size(); ++i)
    if (!how.is_special(e.ids[i]))
      places.push_back(first + static_cast<std::int32_t>(i));
  if (places.empty())
    return;
  random_stream random(turn.seed ^ mix(static_cast<std::uint64_t>(turn.epoch)), mix(turn.number));
  const auto wanted =
      static_cast<std::size_t>(std::lround(how.share * static_cast<double>(places.size())));
  const std::size_t asked = std::clamp<std::size_t>(wanted, 1, places.size());
  for (std::size_t i = 0; i < asked; ++i)
    std::swap(places[i], places[i + random.below(places.size() - i)]);
  std::sort(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(asked));
  for (std::size_t i = 0; i < asked; ++i) {
    std::int32_t& id = batch.ids[static_cast<std::size_t>(places[i])];
    batch.places.push_back(places[i]);
    t.labels.push_back(id);
    const double kind = random.uniform();
    if (kind < how.masked) {
      id = how.mask_id;
    } else if (kind < how.masked + how.random) {
      do
        id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(how.vocabulary)));
      while (how.is_special(id));
    }
  }
}

GRAFT_PLAIN void masked_language::pad(index_t length, std::int32_t first_position, masked_batch& batch,
                                      truth& t) const {
  detail::pad_tokens(length, first_position, batch);
  const auto asked = static_cast<std::size_t>(bucket_of(static_cast<index_t>(t.labels.size())));
  batch.places.resize(asked, 0);
  t.labels.resize(asked, cross_entropy{}.ignored);
}

GRAFT_PLAIN evaluation masked_language::evaluate(tally sums) const {
  const auto n = static_cast<double>(sums.asked);
  return {n > 0 ? sums.loss / n : 0,
          {{"accuracy", n > 0 ? static_cast<double>(sums.hits) / n : 0}},
          confusion_matrix{}};
}

GRAFT_PLAIN std::vector<std::pair<std::string, double>> masked_language::numbers() const {
  std::vector<std::pair<std::string, double>> numbers{
      {"share", how.share},     {"masked", how.masked},        {"random", how.random},
      {"mask_id", how.mask_id}, {"vocabulary", how.vocabulary}};
  for (const std::int32_t id : how.special)
    numbers.emplace_back("special", id);
  return numbers;
}

}  // namespace graft

#endif
