// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/wordpiece.hpp>

#include <string>
#include <vector>

namespace {

graft::wordpiece model(const std::vector<std::string>& tokens) {
  graft::wordpiece out;
  std::int32_t id = 0;
  for (const auto& token : tokens)
    out.tokens.insert(token, id++);
  return out;
}

std::string pieces(const graft::wordpiece& m, std::string_view text) {
  std::vector<std::int32_t> ids;
  m.append(text, ids);
  std::string out;
  for (const auto id : ids)
    out += (out.empty() ? "" : " ") + *m.tokens.text(id);
  return out;
}

std::string words(std::string_view text) {
  std::string out;
  graft::text_detail::for_each_bert_word(
      text, [&](std::string_view word) { out += "(" + std::string(word) + ")"; });
  return out;
}

}  // namespace

TEST_CASE("the normalizer's options act each on their own") {
  const std::string text = "\tÉ\u200B中\uFFFD";
  CHECK(graft::bert_normalizer{}(text) == " e 中 ");
  CHECK(graft::bert_normalizer{false, false, false, false}(text) == text);
  CHECK(graft::bert_normalizer{true, false, false, false}(text) == " É中");
  CHECK(graft::bert_normalizer{false, true, false, false}(text) == "\tÉ\u200B 中 \uFFFD");
  CHECK(graft::bert_normalizer{false, false, true, false}("É") == "E");
  CHECK(graft::bert_normalizer{false, false, false, true}("É") == "é");
  CHECK(graft::bert_normalizer{true, true, {}, false}("É") == "É");
}

TEST_CASE("words end at white space and punctuation stands alone") {
  CHECK(words("") == "");
  CHECK(words(" a  b\t") == "(a)(b)");
  CHECK(words("don't") == "(don)(')(t)");
  CHECK(words("a$b^c") == "(a)($)(b)(^)(c)");
  CHECK(words("a。b\u00A0c") == "(a)(。)(b)(c)");
}

TEST_CASE("a word is cut into the longest pieces from the left") {
  const auto m = model({"[UNK]", "un", "##aff", "##able", "##a", "##ff", "u", "é", "##é"});
  CHECK(pieces(m, "unaffable") == "un ##aff ##able");
  CHECK(pieces(m, "unaff") == "un ##aff");
  CHECK(pieces(m, "ééun") == "[UNK]");
  CHECK(pieces(m, "éé un") == "é ##é un");
  CHECK(pieces(m, "unx un") == "[UNK] un");
}

TEST_CASE("a word of more than a hundred characters is unknown") {
  const auto m = model({"[UNK]", "é", "##é"});
  std::string word;
  for (int i = 0; i < 100; ++i)
    word += "é";
  std::vector<std::int32_t> ids;
  m.append(word, ids);
  CHECK(ids.size() == 100);
  CHECK(pieces(m, word + "é") == "[UNK]");
}
