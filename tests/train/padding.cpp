// SPDX-License-Identifier: MIT
#include <graft/backend/cpu.hpp>
#include <graft/train/masked_language.hpp>
#include <graft/train/padding.hpp>
#include <graft/train/task_objective.hpp>

#include <cstdint>
#include <numeric>
#include <set>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::padding_tests {

using namespace graft;
using B = cpu<double>;

TEST_CASE("sizes fall into few buckets, none of which is much larger") {
  std::set<index_t> buckets;
  for (index_t n = 1; n <= 32768; ++n) {
    const index_t b = bucket_of(n);
    REQUIRE(b >= n);
    REQUIRE((b - n < 16 || (b - n) * 8 < n));
    REQUIRE(bucket_of(b) == b);
    REQUIRE(b >= bucket_of(n - 1));
    buckets.insert(b);
  }
  CHECK(buckets.size() <= 8 * 15);
}

TEST_CASE("equal buckets of like sequences get equally many sequences more") {
  std::set<std::size_t> pieces;
  for (index_t more = 0; more < 8; ++more) {
    layout batch;
    for (const index_t length : {index_t{30}, 20 + more, index_t{0}, index_t{60}, index_t{7}})
      batch.append(length, 0);
    REQUIRE(bucket_of(batch.rows()) == 128);
    const auto lengths = padding_of(batch);
    CHECK(std::accumulate(lengths.begin(), lengths.end(), batch.rows()) == 128);
    for (const index_t length : lengths)
      CHECK(length <= 32);
    pieces.insert(lengths.size());
  }
  CHECK(pieces.size() == 1);
  CHECK(padding_of(layout{}).size() == 15);  // of one token each
}

// The loss of a batch and of the same with sequences that count for nothing; `rows` of a batch are those of
// its outputs.
template <class Batch, class Objective, class Rows>
void expect_padding_is_nothing(const Objective& what, const example_list& data, index_t cols,
                               const Rows& rows) {
  typename B::workspace memory;
  Batch batch, padded;
  truth t, padded_truth;
  for (std::size_t i = 0; i < data.size(); ++i) {
    what.add(data[i], {.number = static_cast<std::uint32_t>(i), .epoch = 1}, 0, batch, t);
    what.add(data[i], {.number = static_cast<std::uint32_t>(i), .epoch = 1}, 0, padded, padded_truth);
  }
  const auto lengths = padding_of(batch.rows);
  for (const index_t length : lengths)
    what.pad(length, 0, padded, padded_truth);
  REQUIRE(padded.rows.rows() == bucket_of(batch.rows.rows()));
  REQUIRE(padded.rows.sequences() == batch.rows.sequences() + static_cast<index_t>(lengths.size()));

  const index_t n = rows(batch, t), more = rows(padded, padded_truth);
  REQUIRE(more > n);
  auto y = B::make(memory, more, cols);
  random_stream random(3);
  for (index_t i = 0; i < more; ++i)
    for (index_t j = 0; j < cols; ++j)
      y(i, j) = random.normal();
  const context<B> k{memory, batch.rows}, wide{memory, padded.rows};
  const auto own = what.template loss<B>(y.rows_of(0, n), batch, t, k);
  const auto other = what.template loss<B>(y, padded, padded_truth, wide);
  CHECK(other.loss.value() == Approx(own.loss.value()).epsilon(1e-12));
  for (index_t i = 0; i < more; ++i)
    for (index_t j = 0; j < cols; ++j)
      REQUIRE(other.gradient(i, j) == Approx(i < n ? own.gradient(i, j) : 0.0).margin(1e-15));
}

example_list sentences() {
  example_list data(3);
  for (std::size_t i = 0; i < data.size(); ++i) {
    for (std::int32_t j = 0; j < static_cast<std::int32_t>(5 + 3 * i); ++j) {
      data[i].ids.push_back(7 + j);
      data[i].labels.push_back(j % 3 == 0 ? -100 : j % 3);
    }
    data[i].label = static_cast<std::int32_t>(i % 2);
    data[i].answer.first = 1;
    data[i].answer.last = static_cast<std::int32_t>(2 + i);
  }
  return data;
}

TEST_CASE("sequences that count for nothing change neither loss nor gradient") {
  const auto data = sentences();
  const auto by_sequence = [](const auto& batch, const truth&) { return batch.rows.sequences(); };
  const auto by_token = [](const auto& batch, const truth&) { return batch.rows.rows(); };
  const cross_entropy weighted{.class_weights = {1, 3, 2}, .smoothing = 0.1};
  SECTION("classes") {
    expect_padding_is_nothing<token_batch>(task_objective{classification{3, weighted}}, data, 3,
                                           by_sequence);
  }
  SECTION("classes of tokens") {
    expect_padding_is_nothing<token_batch>(
        task_objective{token_classification{{"a", "b", "c"}, weighted}}, data, 3, by_token);
  }
  SECTION("answers") {
    expect_padding_is_nothing<token_batch>(task_objective{question_answering{}}, data, 2, by_token);
  }
  SECTION("masked words") {
    masked_language what;
    what.how.vocabulary = 30;
    what.how.mask_id = 3;
    expect_padding_is_nothing<masked_batch>(
        what, data, 30,
        [](const auto&, const truth& t) { return static_cast<index_t>(t.labels.size()); });
  }
}

}  // namespace graft_test::padding_tests
