// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/sequence_template.hpp>

#include <utility>
#include <vector>

TEST_CASE("the longer of two texts is cut first") {
  using lengths = std::pair<graft::index_t, graft::index_t>;
  CHECK(graft::longest_first(2, 3, 5) == lengths{2, 3});
  CHECK(graft::longest_first(2, 9, 7) == lengths{2, 5});
  CHECK(graft::longest_first(9, 2, 7) == lengths{5, 2});
  CHECK(graft::longest_first(9, 8, 7) == lengths{4, 3});
  CHECK(graft::longest_first(8, 9, 7) == lengths{3, 4});
  CHECK(graft::longest_first(9, 9, 7) == lengths{3, 4});
  CHECK(graft::longest_first(0, 9, 4) == lengths{0, 4});
  CHECK(graft::longest_first(9, 9, 0) == lengths{0, 0});
  for (graft::index_t a = 0; a < 9; ++a)
    for (graft::index_t b = 0; b < 9; ++b)
      for (graft::index_t room = 0; room < 20; ++room) {
        const auto [x, y] = graft::longest_first(a, b, room);
        CHECK(x + y == std::min(a + b, room));
        CHECK((x <= a && y <= b));
      }
}

TEST_CASE("texts and special tokens stand where the template says") {
  const graft::sequence_template frame = {
      {graft::template_part::special, 0, {7}},
      {graft::template_part::first_text, 0, {}},
      {graft::template_part::special, 1, {8, 9}},
      {graft::template_part::second_text, 2, {}},
  };
  CHECK(graft::special_count(frame) == 3);
  const auto whole = graft::arrange(frame, {1, 2}, 2, {3}, 1);
  CHECK(whole.ids == std::vector<std::int32_t>{7, 1, 2, 8, 9, 3});
  CHECK(whole.types == std::vector<std::int32_t>{0, 0, 0, 1, 1, 2});
  CHECK_FALSE(whole.truncated);
  const auto cut = graft::arrange(frame, {1, 2}, 2, {3}, 0);
  CHECK(cut.ids == std::vector<std::int32_t>{7, 1, 2, 8, 9});
  CHECK(cut.truncated);
  CHECK(graft::row_of(frame, graft::template_part::first_text, 2, 1) == 1);
  CHECK(graft::row_of(frame, graft::template_part::second_text, 2, 1) == 5);
  CHECK(graft::row_of(frame, graft::template_part::second_text, 0, 1) == 3);
}
