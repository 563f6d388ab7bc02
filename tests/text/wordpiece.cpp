// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/wordpiece.hpp>

#include <string>
#include <vector>

namespace {

graft::wordpiece wordpiece_of(const std::vector<std::string>& tokens) {
  graft::wordpiece out;
  std::int32_t id = 0;
  for (const auto& token : tokens)
    out.tokens.insert(token, id++);
  return out;
}

std::string word_pieces(const graft::wordpiece& m, std::string_view text) {
  std::vector<graft::placed_token> tokens;
  m.append(text, tokens);
  std::string out;
  for (const auto& token : tokens)
    out += (out.empty() ? "" : " ") + *m.tokens.text(token.id);
  return out;
}

std::string bert_words(std::string_view text) {
  std::string out;
  graft::text_detail::for_each_bert_word(
      text, [&](std::string_view word) { out += "(" + std::string(word) + ")"; });
  return out;
}

}  // namespace

TEST_CASE("the normalizer's options act each on their own") {
  const std::string text = "\tÉ\u200B中\uFFFD";
  CHECK(graft::bert_normalizer{}(text).text == " e 中 ");
  CHECK(graft::bert_normalizer{false, false, false, false}(text).text == text);
  CHECK(graft::bert_normalizer{true, false, false, false}(text).text == " É中");
  CHECK(graft::bert_normalizer{false, true, false, false}(text).text == "\tÉ\u200B 中 \uFFFD");
  CHECK(graft::bert_normalizer{false, false, true, false}("É").text == "E");
  CHECK(graft::bert_normalizer{false, false, false, true}("É").text == "é");
  CHECK(graft::bert_normalizer{true, true, {}, false}("É").text == "É");
}

TEST_CASE("every byte of a normalised text knows the character that it comes from") {
  using places = std::vector<graft::byte_range>;
  const auto normalized = graft::bert_normalizer{}("É\u200Be\u0301中İ");
  CHECK(normalized.text == "ee 中 i");
  CHECK((normalized.places ==
         places{{0, 2}, {5, 6}, {8, 11}, {8, 11}, {8, 11}, {8, 11}, {8, 11}, {11, 13}}));
  const auto marks = graft::bert_normalizer{true, true, true, false}("q\u0903\u093Cx");
  CHECK(marks.text == "q\u0903x");
  CHECK((marks.places == places{{0, 1}, {1, 4}, {1, 4}, {1, 4}, {7, 8}}));
}

TEST_CASE("words end at white space and punctuation stands alone") {
  CHECK(bert_words("") == "");
  CHECK(bert_words(" a  b\t") == "(a)(b)");
  CHECK(bert_words("don't") == "(don)(')(t)");
  CHECK(bert_words("a$b^c") == "(a)($)(b)(^)(c)");
  CHECK(bert_words("a。b\u00A0c") == "(a)(。)(b)(c)");
}

TEST_CASE("a word is cut into the longest pieces from the left") {
  const auto m = wordpiece_of({"[UNK]", "un", "##aff", "##able", "##a", "##ff", "u", "é", "##é"});
  CHECK(word_pieces(m, "unaffable") == "un ##aff ##able");
  CHECK(word_pieces(m, "unaff") == "un ##aff");
  CHECK(word_pieces(m, "ééun") == "[UNK]");
  CHECK(word_pieces(m, "éé un") == "é ##é un");
  CHECK(word_pieces(m, "unx un") == "[UNK] un");
}

TEST_CASE("a word of more than a hundred characters is unknown") {
  const auto m = wordpiece_of({"[UNK]", "é", "##é"});
  std::string word;
  for (int i = 0; i < 100; ++i)
    word += "é";
  std::vector<graft::placed_token> tokens;
  m.append(word, tokens);
  CHECK(tokens.size() == 100);
  CHECK(word_pieces(m, word + "é") == "[UNK]");
}
