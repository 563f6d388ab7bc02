// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/added_tokens.hpp>

#include <string>
#include <vector>

namespace {

graft::added_token token(const std::string& content, std::int32_t id) {
  graft::added_token out;
  out.content = content;
  out.id = id;
  return out;
}

// "text|<id>text|…": the pieces in order, the tokens with their ids.
std::string shown(const graft::added_tokens& tokens, std::string_view text) {
  std::string out;
  for (const auto& piece : tokens.split(text)) {
    if (!out.empty())
      out += "|";
    if (piece.token != nullptr)
      out += "<" + std::to_string(piece.token->id) + ">";
    out += piece.text;
  }
  return out;
}

}  // namespace

TEST_CASE("tokens are cut out of the text wherever they stand") {
  const graft::added_tokens tokens({token("[A]", 1), token("[B]", 2)});
  CHECK(shown(tokens, "") == "");
  CHECK(shown(tokens, "none [C]") == "none [C]");
  CHECK(shown(tokens, "x[A]y [B]") == "x|<1>[A]|y |<2>[B]");
  CHECK(shown(tokens, "[A][A]") == "<1>[A]|<1>[A]");
  CHECK(shown(tokens, "[[A]") == "[|<1>[A]");
  CHECK(shown(graft::added_tokens(), "[A]") == "[A]");
}

TEST_CASE("of the tokens that begin at one place the longest wins") {
  const graft::added_tokens tokens({token("ab", 1), token("abc", 2), token("bcd", 3)});
  CHECK(shown(tokens, "abcd") == "<2>abc|d");
  CHECK(shown(tokens, "abd") == "<1>ab|d");
  CHECK(shown(tokens, "xbcd") == "x|<3>bcd");
}

TEST_CASE("a token may take the white space beside it") {
  auto left = token("<l>", 1);
  left.lstrip = true;
  auto right = token("<r>", 2);
  right.rstrip = true;
  const graft::added_tokens tokens({left, right});
  CHECK(shown(tokens, "a \u3000 <l> b") == "a|<1> \u3000 <l>| b");
  CHECK(shown(tokens, " <l> <l>") == "<1> <l>|<1> <l>");
  CHECK(shown(tokens, "a <r> \n b") == "a |<2><r> \n |b");
  CHECK(shown(tokens, "<r>  <l>") == "<2><r>  |<1><l>");
}

TEST_CASE("a single word is no part of another") {
  auto at = token("@@", 1);
  at.single_word = true;
  const graft::added_tokens tokens({at});
  CHECK(shown(tokens, "@@") == "<1>@@");
  CHECK(shown(tokens, "-@@-") == "-|<1>@@|-");
  CHECK(shown(tokens, "a@@ @@b é@@ @@中 _@@") == "a@@ @@b é@@ @@中 _@@");
  CHECK(shown(tokens, "a @@ b") == "a |<1>@@| b");
}
