// SPDX-License-Identifier: MIT
#include "support/catch.hpp"

#include <graft/text/unicode.hpp>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>

namespace unicode = graft::unicode;

namespace {

std::u32string nfd(std::u32string_view text) {
  std::u32string out;
  for (const char32_t c : text)
    unicode::append_decomposed(out, c);
  unicode::order_marks(out);
  return out;
}

}  // namespace

TEST_CASE("every code point survives encoding and decoding") {
  for (char32_t c = 0; c <= 0x10FFFF; c += c < 0x3000 ? 1 : 251) {
    if (c >= 0xD800 && c < 0xE000)
      continue;
    const std::string bytes = unicode::encode({&c, 1});
    const auto front = unicode::decode_front(bytes);
    REQUIRE(front.point == c);
    REQUIRE(front.length == static_cast<int>(bytes.size()));
  }
  CHECK(unicode::decode("aé中😀") == U"aé中😀");
  CHECK(unicode::decode("").empty());
}

TEST_CASE("the first byte that is not UTF-8 is found") {
  const std::pair<std::string, graft::index_t> cases[] = {
      {"", -1},
      {"plain", -1},
      {"é中😀", -1},
      {std::string("a\0b", 3), -1},
      {"\x80", 0},               // a continuation alone
      {"ab\xC3", 2},             // cut off
      {"ab\xE4\xB8", 2},         // cut off later
      {"\xC0\x80", 0},           // overlong
      {"\xE0\x80\x80", 0},       // overlong
      {"x\xED\xA0\x80", 1},      // a surrogate
      {"x\xF4\x90\x80\x80", 1},  // beyond U+10FFFF
      {"x\xF8\x88\x80\x80\x80", 1},
      {"é\xFF", 2},
  };
  for (const auto& [bytes, at] : cases) {
    CHECK(unicode::first_invalid_byte(bytes) == at);
    if (at >= 0)
      CHECK_THROWS_WITH(unicode::decode(bytes), Catch::Contains("byte " + std::to_string(at)));
  }
}

TEST_CASE("characters have the kinds that tokenizers ask for") {
  CHECK(unicode::is_letter(U'é'));
  CHECK(unicode::is_letter(U'中'));
  CHECK_FALSE(unicode::is_letter(U'\u0301'));
  CHECK(unicode::is_number(U'½'));
  CHECK(unicode::is_number(U'Ⅻ'));
  CHECK_FALSE(unicode::is_number(U'x'));
  CHECK(unicode::is_punctuation(U'。'));
  CHECK_FALSE(unicode::is_punctuation(U'$'));
  CHECK(unicode::is_nonspacing_mark(U'\u0301'));
  CHECK(unicode::is_control(U'\u200B'));
  CHECK(unicode::is_control(U'\uE000'));
  CHECK_FALSE(unicode::is_control(U'\u0378'));  // unassigned
  CHECK(unicode::is_space(U'\u00A0'));
  CHECK(unicode::is_space(U'\u3000'));
  CHECK_FALSE(unicode::is_space(U'\u200B'));
  CHECK(unicode::is_word(U'_'));
  CHECK(unicode::is_word(U'Ⓐ'));
  CHECK(unicode::is_word(U'\u0301'));
  CHECK_FALSE(unicode::is_word(U'½'));
  CHECK_FALSE(unicode::is_word(U'-'));
}

TEST_CASE("lower case goes character by character") {
  std::u32string lower;
  for (const char32_t c : U"ÀΣİẞ中")
    if (c != 0)
      unicode::append_lower(lower, c);
  CHECK(lower == U"àσi\u0307ß中");
}

TEST_CASE("decomposition is canonical and orders the marks") {
  CHECK(nfd(U"é") == U"e\u0301");
  CHECK(nfd(U"한") == U"\u1112\u1161\u11AB");
  CHECK(nfd(U"ﬁ") == U"ﬁ");  // a compatibility character stays
  CHECK(nfd(U"q\u0307\u0323") == U"q\u0323\u0307");
  CHECK(nfd(U"ộ") == U"o\u0323\u0302");
  CHECK(nfd(U"a\u0301\u0300b\u0307\u0323") == U"a\u0301\u0300b\u0323\u0307");
}

TEST_CASE("a hundred thousand marks in the wrong order are sorted at once") {
  std::u32string marks;
  for (int i = 0; i < 50'000; ++i)
    marks += U'\u0301';
  for (int i = 0; i < 50'000; ++i)
    marks += U'\u0323';
  const auto begin = std::chrono::steady_clock::now();
  const auto sorted = nfd(marks);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  CHECK(sorted.front() == U'\u0323');
  CHECK(sorted.back() == U'\u0301');
  CHECK(took.count() < 2);
}
