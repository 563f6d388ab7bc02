// SPDX-License-Identifier: MIT
#include <graft/core/layout.hpp>

#include "support/catch.hpp"

using namespace graft;

namespace {

layout three() {
  layout l;
  l.append(2, 10);
  l.append(0, 11);
  l.append(3, 12);
  return l;
}

}  // namespace

TEST_CASE("a new layout has no sequences") {
  layout l;
  CHECK(l.sequences() == 0);
  CHECK(l.rows() == 0);
  CHECK(l.names.empty());
}

TEST_CASE("appended sequences lie one after another") {
  const layout l = three();
  CHECK(l.sequences() == 3);
  CHECK(l.rows() == 5);
  CHECK(l.offsets == std::vector<index_t>{0, 2, 2, 5});
  CHECK(l.first(2) == 2);
  CHECK(l.length(0) == 2);
  CHECK(l.length(1) == 0);
  CHECK(l.length(2) == 3);
}

TEST_CASE("rows are named after their example and position") {
  const layout l = three();
  REQUIRE(l.names.size() == 5);
  const std::uint32_t examples[] = {10, 10, 12, 12, 12}, tokens[] = {0, 1, 0, 1, 2};
  for (std::size_t i = 0; i < 5; ++i) {
    CHECK(l.names[i].example == examples[i]);
    CHECK(l.names[i].token == tokens[i]);
  }
}

TEST_CASE("a cleared layout is as good as new") {
  layout l = three();
  l.clear();
  CHECK(l.sequences() == 0);
  l.append(4, 1);
  CHECK(l.offsets == std::vector<index_t>{0, 4});
  CHECK(l.names.size() == 4);
}

TEST_CASE("separate rows are sequences of one") {
  const layout l = separate_rows(3);
  CHECK(l.offsets == std::vector<index_t>{0, 1, 2, 3});
  for (std::uint32_t i = 0; i < 3; ++i) {
    CHECK(l.names[i].example == i);
    CHECK(l.names[i].token == 0);
  }
  CHECK(separate_rows(0).sequences() == 0);
}

TEST_CASE("a pooled layout has a row per sequence, named after the sequence") {
  layout pooled;
  pooled.append(7, 99);  // what was there before goes away
  pooled_layout(three(), pooled);
  CHECK(pooled.offsets == std::vector<index_t>{0, 1, 2, 3});
  REQUIRE(pooled.names.size() == 3);
  CHECK(pooled.names[0].example == 10);
  CHECK(pooled.names[2].example == 12);
  for (const row_name& n : pooled.names)
    CHECK(n.token == 0);
}

TEST_CASE("a lengthened layout has more rows in front of every sequence, numbered anew") {
  layout longer;
  longer.append(7, 99);  // what was there before goes away
  lengthened_layout(three(), 2, longer);
  CHECK(longer.offsets == std::vector<index_t>{0, 4, 6, 11});
  REQUIRE(longer.names.size() == 11);
  CHECK(longer.names[3].example == 10);
  CHECK(longer.names[3].token == 3);
  CHECK(longer.names[4].example == 0);  // an empty sequence has no name
  CHECK(longer.names[6].example == 12);
  CHECK(longer.names[6].token == 0);
}

TEST_CASE("a lasting layout keeps its memory when its cache is emptied") {
  struct cache {
    lasting_layout rows;
  } c;
  lengthened_layout(three(), 2, c.rows);
  const auto* offsets = c.rows.offsets.data();
  c = {};
  lengthened_layout(three(), 2, c.rows);
  CHECK(c.rows.offsets.data() == offsets);
  CHECK(c.rows.offsets == std::vector<index_t>{0, 4, 6, 11});
}

TEST_CASE("pooling a layout again allocates nothing") {
  layout pooled;
  pooled_layout(three(), pooled);
  const auto* offsets = pooled.offsets.data();
  const auto* names = pooled.names.data();
  pooled_layout(three(), pooled);
  CHECK(pooled.offsets.data() == offsets);
  CHECK(pooled.names.data() == names);
}

TEST_CASE("a sequence's task goes with it through prompts and pooling") {
  layout l;
  l.append(2, 10, 3);
  l.append(0, 11);
  l.append(1, 12, 1);
  layout longer, pooled;
  lengthened_layout(l, 2, longer);
  pooled_layout(longer, pooled);
  for (const layout& each : {l, longer, pooled})
    CHECK(each.tasks == std::vector<std::uint32_t>{3, 0, 1});
  l.clear();
  CHECK(l.tasks.empty());
}

TEST_CASE("a share of a batch's rows has their numbers, names and tasks") {
  layout l;
  l.append(2, 10, 3);
  l.append(4, 11, 5);
  l.append(0, 12, 7);
  row_share share;
  share.take(l, 1, 1, 2);
  share.take(l, 0);
  share.take(l, 2);  // of which there is nothing to take
  CHECK(share.ids == std::vector<std::int32_t>{3, 4, 0, 1});
  CHECK(share.rows.offsets == std::vector<index_t>{0, 2, 4});
  CHECK(share.rows.tasks == std::vector<std::uint32_t>{5, 3});
  CHECK(share.rows.names[1].example == 11);
  CHECK(share.rows.names[1].token == 2);
}
