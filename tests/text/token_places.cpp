// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/golden_tokenizer.hpp"

#include <graft/text/tokenizer.hpp>

#include <string>
#include <vector>

namespace {

using graft_test::golden_ids;
using graft_test::golden_tokenizer;
using placed_list = std::vector<graft::placed_token>;

struct golden_places {
  std::string text;
  placed_list expected;
};

bool begins_character(const std::string& text, graft::index_t at) {
  const auto i = static_cast<std::size_t>(at);
  return i == text.size() || (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
}

}  // namespace

// Recorded with transformers 5.23, its characters counted as bytes.
TEST_CASE("WordPiece tokens stand where Hugging Face's tokenizer says") {
  const golden_places texts[] = {
      {"A film, don't",
       {{20, 0, 1},
        {60, 2, 3},
        {573, 3, 5},
        {36, 5, 6},
        {58, 6, 7},
        {691, 8, 11},
        {15, 11, 12},
        {13, 12, 13}}},
      {"Résumé e\u0301t\u0301a",
       {{669, 0, 3}, {14, 3, 4}, {31, 4, 5}, {610, 5, 8}, {33, 9, 10}, {16, 12, 13}, {6, 15, 16}}},
      {"中文a 한", {{8, 0, 3}, {1, 3, 6}, {20, 6, 7}, {162, 8, 11}, {57, 8, 11}, {101, 8, 11}}},
      {std::string("nul\0in\u200Bside \uFFFD", 17), {{862, 0, 12}, {5, 12, 13}}},
      {"x [MASK] graft <tag> é",
       {{68, 0, 1}, {4, 2, 8}, {1100, 9, 14}, {1102, 14, 21}, {33, 21, 23}}},
      {"  two  😀a\u00A0b",
       {{13, 2, 3}, {53, 3, 4}, {10, 4, 5}, {171, 7, 11}, {6, 11, 12}, {39, 14, 15}}},
      {"İ unaffable", {{40, 0, 2}, {874, 3, 11}, {5, 11, 12}}},
  };
  const auto tokenizer = golden_tokenizer("bert_uncased");
  for (const auto& [text, expected] : texts) {
    INFO(text);
    CHECK((graft::placed_tokens(tokenizer, text) == expected));
  }
}

TEST_CASE("byte-level tokens stand where Hugging Face's tokenizer says") {
  const golden_places texts[] = {
      {"A film, don't",
       {{37, 0, 1},
        {435, 2, 3},
        {394, 3, 5},
        {81, 5, 6},
        {16, 6, 7},
        {225, 8, 8},
        {297, 8, 11},
        {296, 11, 13}}},
      {"中文a 한",
       {{269, 0, 3},
        {167, 3, 6},
        {249, 3, 6},
        {234, 3, 6},
        {69, 6, 7},
        {225, 8, 8},
        {591, 8, 11},
        {255, 8, 11}}},
      {"  two  😀a\u00A0b",
       {{225, 1, 1},
        {225, 2, 2},
        {678, 2, 5},
        {225, 6, 6},
        {225, 7, 7},
        {273, 7, 11},
        {69, 11, 12},
        {347, 12, 14},
        {70, 14, 15}}},
      {"½ <mask> end ", {{567, 0, 2}, {4, 3, 9}, {225, 10, 10}, {374, 10, 13}, {225, 14, 14}}},
  };
  const auto tokenizer = golden_tokenizer("roberta");
  for (const auto& [text, expected] : texts) {
    INFO(text);
    CHECK((graft::placed_tokens(tokenizer, text) == expected));
  }
}

TEST_CASE("the blank that a byte-level text is given has no place") {
  const placed_list film = {{435, 0, 1}, {394, 1, 3}, {81, 3, 4}};
  const placed_list word = {{225, 0, 0}, {678, 0, 3}};
  const auto plain = golden_tokenizer("roberta"), prefixed = golden_tokenizer("roberta_prefix");
  CHECK((graft::placed_tokens(prefixed, "film") == film));
  CHECK((graft::placed_tokens(prefixed, "two") == word));
  CHECK((graft::placed_tokens(plain.parts, "film", true) == film));
  CHECK_FALSE((graft::placed_tokens(plain, "film") == film));
  CHECK((graft::placed_tokens(prefixed, " film") ==
         placed_list{{435, 1, 2}, {394, 2, 4}, {81, 4, 5}}));
}

TEST_CASE("places are whole characters of the text, in order") {
  const auto texts = golden_ids()["texts"].get<std::vector<std::string>>();
  for (const auto* name : {"bert_uncased", "bert_cased", "roberta", "roberta_prefix"}) {
    const auto tokenizer = golden_tokenizer(name);
    for (const auto& text : texts) {
      INFO(name << ": " << text);
      graft::index_t before = 0;
      bool good = true;
      for (const auto& [id, first, end] : graft::placed_tokens(tokenizer, text)) {
        good = good && before <= first && first <= end &&
               end <= static_cast<graft::index_t>(text.size()) && begins_character(text, first) &&
               begins_character(text, end);
        before = first;
      }
      CHECK(good);
    }
  }
}

TEST_CASE("a stretch without bytes stands behind what is before it") {
  const graft::placed_text text{"xy", {{0, 3}, {3, 4}}};
  CHECK((text.place_of(0, 2) == graft::byte_range{0, 4}));
  CHECK((text.place_of(0, 0) == graft::byte_range{0, 0}));
  CHECK((text.place_of(1, 1) == graft::byte_range{3, 3}));
  CHECK((text.place_of(2, 2) == graft::byte_range{4, 4}));
}
