// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/byte_bpe.hpp>

#include <chrono>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace {

using ids = std::vector<std::int32_t>;
using merge_list = std::vector<std::pair<std::string, std::string>>;

graft::byte_bpe byte_bpe_of(const merge_list& merges) {
  graft::token_table table;
  std::int32_t id = 0;
  for (const auto& symbol : graft::text_detail::byte_symbols())
    table.insert(symbol, id++);
  for (const auto& [left, right] : merges)
    if (table.id(left + right) == graft::no_token)
      table.insert(left + right, id++);
  return graft::byte_bpe(std::move(table), merges);
}

ids tokens_of(const graft::byte_bpe& m, std::string_view text) {
  std::vector<graft::placed_token> out;
  m.append(text, out);
  return graft::ids_of(out);
}

std::string bpe_pieces(const graft::byte_bpe& m, std::string_view text) {
  std::string out;
  for (const auto id : tokens_of(m, text))
    out += (out.empty() ? "" : "|") + *m.tokens.text(id);
  return out;
}

std::string gpt2_words(std::string_view text) {
  std::string out;
  for (std::size_t at = 0; at < text.size();) {
    const auto end = graft::text_detail::end_of_gpt2_word(text, at);
    out += "(" + std::string(text.substr(at, end - at)) + ")";
    at = end;
  }
  return out;
}

// The definition: again and again the best-ranked pair, the leftmost of equals.
std::vector<std::string> merged_slowly(std::vector<std::string> symbols, const merge_list& merges) {
  for (;;) {
    std::size_t best = merges.size(), place = 0;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i)
      for (std::size_t rank = 0; rank < best; ++rank)
        if (merges[rank] == std::pair{symbols[i], symbols[i + 1]}) {
          best = rank;
          place = i;
        }
    if (best == merges.size())
      return symbols;
    symbols[place] += symbols[place + 1];
    symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(place) + 1);
  }
}

}  // namespace

TEST_CASE("every byte has a visible symbol of its own") {
  const auto symbols = graft::text_detail::byte_symbols();
  CHECK(std::set<std::string>(symbols.begin(), symbols.end()).size() == 256);
  CHECK(symbols['A'] == "A");
  CHECK(symbols[' '] == "Ġ");
  CHECK(symbols['\n'] == "Ċ");
  CHECK(symbols[0xAD] == "Ń");
  CHECK(symbols[0xFF] == "ÿ");
}

TEST_CASE("text is split as GPT-2 splits it") {
  CHECK(gpt2_words("") == "");
  CHECK(gpt2_words("Hello my  friend") == "(Hello)( my)( )( friend)");
  CHECK(gpt2_words("it's we'll 'sound") == "(it)('s)( we)('ll)( ')(sound)");
  CHECK(gpt2_words("'s't're've'm'll'd'x") == "('s)('t)('re)('ve)('m)('ll)('d)(')(x)");
  CHECK(gpt2_words("IT'S") == "(IT)(')(S)");
  CHECK(gpt2_words("a1½ b²") == "(a)(1½)( b)(²)");
  CHECK(gpt2_words("end. \n") == "(end)(.)( \n)");
  CHECK(gpt2_words("a\n\nb") == "(a)(\n)(\n)(b)");
  CHECK(gpt2_words("a\u00A0\u00A0b") == "(a)(\u00A0)(\u00A0)(b)");
  CHECK(gpt2_words("  ") == "(  )");
  CHECK(gpt2_words(" ") == "( )");
  CHECK(gpt2_words("e\u0301x") == "(e)(\u0301)(x)");
}

TEST_CASE("the best-ranked pair is merged first and the leftmost of equals") {
  const auto m = byte_bpe_of({{"a", "b"}, {"b", "c"}, {"ab", "c"}, {"a", "a"}});
  CHECK(bpe_pieces(m, "abc") == "abc");
  CHECK(bpe_pieces(m, "bc") == "bc");
  CHECK(bpe_pieces(m, "aaa") == "aa|a");
  CHECK(bpe_pieces(m, "aaab") == "aa|ab");
  CHECK(bpe_pieces(m, "é") == "Ã|©");
}

TEST_CASE("a blank is put before a text only where asked for and missing") {
  auto m = byte_bpe_of({{"Ġ", "a"}});
  CHECK(bpe_pieces(m, "a a") == "a|Ġa");
  m.add_prefix_space = true;
  CHECK(bpe_pieces(m, "a a") == "Ġa|Ġa");
  CHECK(bpe_pieces(m, " a") == "Ġa");
}

TEST_CASE("the pieces of a word stand one behind another, without the blanks around them") {
  using tokens = std::vector<graft::placed_token>;
  graft::token_table table;
  for (const char* token : {"a", "b", "Ġ", "ab", "Ġa", "ĠĠ"})
    table.insert(token, static_cast<std::int32_t>(table.size()));
  const graft::byte_bpe m(std::move(table), {{"a", "b"}, {"Ġ", "a"}, {"Ġ", "Ġ"}});
  tokens out;
  m.append("aab axb  ", out);  // x is left out, and a and b meet
  CHECK((out == tokens{{0, 0, 1}, {3, 1, 3}, {2, 4, 4}, {3, 4, 7}, {5, 9, 9}}));
  out.clear();
  m.append("a", out, true);
  CHECK((out == tokens{{4, 0, 1}}));
}

TEST_CASE("a byte that the vocabulary lacks is unknown or left out") {
  graft::token_table table;
  table.insert("a", 0);
  table.insert("<unk>", 1);
  graft::byte_bpe m(std::move(table), {});
  CHECK(tokens_of(m, "aba") == ids{0, 0});
  m.unknown = 1;
  CHECK(tokens_of(m, "aba") == ids{0, 1, 0});
}

TEST_CASE("a merge without its tokens is refused with its rank") {
  graft::token_table table;
  table.insert("a", 0);
  table.insert("b", 1);
  CHECK_THROWS_WITH(graft::byte_bpe(table, {{"a", "b"}}),
                    Catch::Contains("merge 0") && Catch::Contains("\"ab\""));
  CHECK_THROWS_AS(graft::byte_bpe(table, {{"a", "z"}}), graft::checkpoint_error);
}

TEST_CASE("merging with a queue gives what merging by the definition gives") {
  std::mt19937 random(11);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> known = {"a", "b", "c"};
    merge_list merges;
    while (merges.size() < 12) {
      merges.emplace_back(known[random() % known.size()], known[random() % known.size()]);
      known.push_back(merges.back().first + merges.back().second);
    }
    std::set<std::pair<std::string, std::string>> seen;
    std::erase_if(merges, [&](const auto& m) { return !seen.insert(m).second; });
    std::vector<std::string> symbols;
    std::string text;
    for (int i = 0; i < 40; ++i) {
      symbols.emplace_back(1, static_cast<char>('a' + random() % 3));
      text += symbols.back();
    }
    std::string expected;
    for (const auto& symbol : merged_slowly(symbols, merges))
      expected += (expected.empty() ? "" : "|") + symbol;
    CHECK(bpe_pieces(byte_bpe_of(merges), text) == expected);
  }
}

TEST_CASE("a word of a hundred thousand bytes takes no quadratic time") {
  const auto m = byte_bpe_of({{"a", "a"}, {"aa", "aa"}, {"aaaa", "aaaa"}, {"b", "a"}});
  std::string word(100'000, 'a');
  const auto begin = std::chrono::steady_clock::now();
  CHECK(tokens_of(m, word).size() == 12'500);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CHECK(took.count() < 2);
}
