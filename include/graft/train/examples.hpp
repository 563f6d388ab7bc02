// SPDX-License-Identifier: MIT
// Encoded examples and how they are put into batches.
#pragma once

#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/model/tokens.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace graft {

// Where in an example that is a question and a stretch of a text the answer stands.
struct answer_place {
  std::int32_t first = 0, last = 0;  // rows; 0, 0: not in this stretch
  std::uint32_t question = 0;        // the stretches of one text for one question have the same
  std::int32_t context_row = 0, context_rows = 0;  // which rows are the text's
  std::int32_t context_token = 0;                  // the first of them, counted in the whole text
  std::int32_t true_first = -1, true_last = -1;    // the answer, counted so; −1: there is none
};

// A tokenised text and what is to be said of it: a class, a number, a class of each token, an answer's
// place, or how alike another text is. `task` is which of a model's tasks it is an example of; `label`
// counts the classes of all tasks, one task's after another's.
struct example {
  std::vector<std::int32_t> ids{};
  std::vector<std::int32_t> types{};  // empty: all 0
  std::int32_t label = 0;
  double target = 0;
  std::uint32_t task = 0;
  std::vector<std::int32_t> labels{};  // one per token, −100 for a token that is not asked
  std::vector<std::int32_t> second{};  // the other text's ids
  answer_place answer{};
};

using example_list = std::vector<example>;
using batch_plan = std::vector<std::vector<std::uint32_t>>;

// A random order of 0 .. n - 1.
GRAFT_PLAIN std::vector<std::uint32_t> shuffled(std::size_t n, random_stream& random);

// The batches of one epoch. Shuffled by seed and epoch; with `bucketed`, texts of like length share a
// batch: pools of 50 batches are sorted by length, cut, and the batches shuffled again.
GRAFT_PLAIN batch_plan plan_epoch(std::span<const example> data, std::size_t batch, std::uint64_t seed,
                                  std::uint64_t epoch, bool bucketed);

// The batches of an evaluation: longest first, the order of examples otherwise kept.
GRAFT_PLAIN batch_plan plan_evaluation(std::span<const example> data, std::size_t batch);

// Packs the chosen examples into `batch`, which keeps its memory.
GRAFT_PLAIN void pack(std::span<const example> data, std::span<const std::uint32_t> chosen,
                      std::int32_t first_position, token_batch& batch);

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

GRAFT_PLAIN std::vector<std::uint32_t> shuffled(std::size_t n, random_stream& random) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  for (std::size_t i = n; i > 1; --i)
    std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

GRAFT_PLAIN batch_plan plan_epoch(std::span<const example> data, std::size_t batch, std::uint64_t seed,
                                  std::uint64_t epoch, bool bucketed) {
  random_stream random(seed, mix(epoch + 1));
  std::vector<std::uint32_t> order = shuffled(data.size(), random);
  if (bucketed) {
    const std::size_t pool = 50 * batch;
    for (std::size_t from = 0; from < order.size(); from += pool) {
      const auto first = order.begin() + static_cast<std::ptrdiff_t>(from);
      const auto last =
          order.begin() + static_cast<std::ptrdiff_t>(std::min(from + pool, order.size()));
      std::stable_sort(first, last, [&](std::uint32_t a, std::uint32_t b) {
        return data[a].ids.size() > data[b].ids.size();
      });
    }
  }
  batch_plan plan;
  for (std::size_t from = 0; from < order.size(); from += batch)
    plan.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(from),
                      order.begin() + static_cast<std::ptrdiff_t>(
                                          std::min(from + batch, order.size())));
  if (bucketed) {
    // The batch of the longest texts comes first: memory reaches its peak at once.
    const auto longest = std::max_element(plan.begin(), plan.end(), [&](auto& a, auto& b) {
      return data[a.front()].ids.size() < data[b.front()].ids.size();
    });
    if (longest != plan.end())
      std::swap(plan.front(), *longest);
    for (std::size_t i = plan.size(); i > 2; --i)
      std::swap(plan[i - 1], plan[1 + random.below(i - 1)]);
  }
  return plan;
}

GRAFT_PLAIN batch_plan plan_evaluation(std::span<const example> data, std::size_t batch) {
  std::vector<std::uint32_t> order(data.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return data[a].ids.size() > data[b].ids.size();
  });
  batch_plan plan;
  for (std::size_t from = 0; from < order.size(); from += batch)
    plan.emplace_back(order.begin() + static_cast<std::ptrdiff_t>(from),
                      order.begin() + static_cast<std::ptrdiff_t>(
                                          std::min(from + batch, order.size())));
  return plan;
}

GRAFT_PLAIN void pack(std::span<const example> data, std::span<const std::uint32_t> chosen,
                      std::int32_t first_position, token_batch& batch) {
  batch.clear();
  for (std::uint32_t i : chosen)
    batch.append(data[i].ids, data[i].types, i, first_position, data[i].task);
}

}  // namespace graft

#endif
