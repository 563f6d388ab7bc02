// SPDX-License-Identifier: MIT
// train/examples.hpp
#include <graft/train/examples.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "support/catch.hpp"
#include "support/count_to.hpp"

using namespace graft;
using graft_test::count_to;

namespace {

// n texts of 1 to 40 tokens.
example_list texts_of_any_length(std::size_t n) {
  random_stream random(3);
  example_list data(n);
  for (example& e : data)
    e.ids.resize(1 + random.below(40), 7);
  return data;
}

std::vector<std::uint32_t> flat(const batch_plan& plan) {
  std::vector<std::uint32_t> all;
  for (const auto& batch : plan)
    all.insert(all.end(), batch.begin(), batch.end());
  return all;
}

}  // namespace

TEST_CASE("an epoch has each example once, in batches that are full but one") {
  const auto data = texts_of_any_length(GENERATE(0u, 1u, 7u, 64u, 1003u));
  const bool bucketed = GENERATE(false, true);
  const batch_plan plan = plan_epoch(data, 8, 1, 1, bucketed);
  auto all = flat(plan);
  std::sort(all.begin(), all.end());
  CHECK(all == count_to(data.size()));
  CHECK(plan.size() == (data.size() + 7) / 8);
  std::size_t short_ones = 0;
  for (const auto& batch : plan) {
    CHECK((batch.size() > 0 && batch.size() <= 8));
    short_ones += batch.size() < 8;
  }
  CHECK(short_ones == (data.size() % 8 ? 1u : 0u));
}

TEST_CASE("the order of an epoch follows from seed and epoch") {
  const auto data = texts_of_any_length(100);
  const bool bucketed = GENERATE(false, true);
  const auto plan = plan_epoch(data, 8, 1, 1, bucketed);
  CHECK(plan == plan_epoch(data, 8, 1, 1, bucketed));
  CHECK(plan != plan_epoch(data, 8, 1, 2, bucketed));
  CHECK(plan != plan_epoch(data, 8, 2, 1, bucketed));
  CHECK(flat(plan) != count_to(100));
}

TEST_CASE("a shuffle is uniform enough") {
  random_stream random(5);
  std::vector<int> first(6, 0);
  for (int i = 0; i < 6000; ++i)
    ++first[shuffled(6, random).front()];
  for (const int n : first)
    CHECK((n > 850 && n < 1150));  // 1000 ± 5 deviations of 29
}

TEST_CASE("bucketed batches hold texts of like length, the longest first") {
  const auto data = texts_of_any_length(500);
  const auto spread = [&](const batch_plan& plan) {
    std::size_t sum = 0;
    for (const auto& batch : plan) {
      std::size_t low = 99, high = 0;
      for (const std::uint32_t i : batch) {
        low = std::min(low, data[i].ids.size());
        high = std::max(high, data[i].ids.size());
      }
      sum += high - low;
    }
    return static_cast<double>(sum) / static_cast<double>(plan.size());
  };
  const batch_plan plan = plan_epoch(data, 10, 1, 1, true);
  CHECK(spread(plan) < 2);
  CHECK(spread(plan_epoch(data, 10, 1, 1, false)) > 20);
  CHECK(data[plan.front().front()].ids.size() == 40);
  // … and the other batches are in no order of length.
  const auto shorter = [&](const auto& a, const auto& b) {
    return data[a.front()].ids.size() < data[b.front()].ids.size();
  };
  CHECK_FALSE(std::is_sorted(plan.rbegin(), plan.rend(), shorter));
}

TEST_CASE("an evaluation goes from the longest to the shortest text") {
  const auto data = texts_of_any_length(50);
  const auto all = flat(plan_evaluation(data, 8));
  CHECK(std::is_sorted(all.begin(), all.end(), [&](std::uint32_t a, std::uint32_t b) {
    const std::size_t m = data[a].ids.size(), n = data[b].ids.size();
    return m != n ? m > n : a < b;
  }));
  auto sorted = all;
  std::sort(sorted.begin(), sorted.end());
  CHECK(sorted == count_to(50));
}

TEST_CASE("packed examples keep their tokens, types, positions and numbers") {
  const example_list data{
      {.ids = {5, 6, 7}, .types = {0, 1, 1}, .task = 2}, {.ids = {8}}, {.ids = {9, 4}}};
  token_batch batch;
  pack(data, std::vector<std::uint32_t>{1}, 0, batch);  // whose memory is used again
  pack(data, std::vector<std::uint32_t>{2, 0}, 2, batch);
  using numbers = std::vector<std::int32_t>;
  CHECK(batch.ids == numbers{9, 4, 5, 6, 7});
  CHECK(batch.types == numbers{0, 0, 0, 1, 1});
  CHECK(batch.positions == numbers{2, 3, 2, 3, 4});
  CHECK(batch.rows.offsets == std::vector<graft::index_t>{0, 2, 5});
  CHECK(batch.rows.names[1].example == 2);
  CHECK(batch.rows.names[3].example == 0);
  CHECK(batch.rows.names[3].token == 1);
  CHECK(batch.rows.tasks == std::vector<std::uint32_t>{0, 2});
}

TEST_CASE("a sequence has as many types as tokens") {
  const example_list data{{.ids = {5, 6, 7}, .types = {0, 1}}};
  token_batch batch;
  CHECK_THROWS_AS(pack(data, std::vector<std::uint32_t>{0}, 0, batch), shape_error);
  CHECK(batch.ids.empty());
}
