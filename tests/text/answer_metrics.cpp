// SPDX-License-Identifier: MIT
// text/answer_metrics.hpp. Expected values are those of the formulas of SQuAD 2.0's evaluation
// script under Python 3.11.7.
#include <graft/text/answer_metrics.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace graft;

namespace {

using truths = std::vector<std::string>;

}  // namespace

TEST_CASE("an answer is normalised as the script does") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"The U.S.'s  a-bomb (an A)", "uss abomb"},
      {"thea the anthem antheM", "thea anthem anthem"},
      {"don't $5.00", "dont 500"},
      {"a_b the_end _the_ a", "ab theend"},
      {"!\"#$%&'()*+,-./x:;<=>?@y[\\]^_`z{|}~", "xyz"},
      {"0 9 A Z b z", "0 9 z b z"},
      {" \t x\n\ny \r\v\f ", "x y"},
      {"THE", ""},
      {"  ", ""},
      {"", ""},
  };
  for (const auto& [answer, normal] : cases)
    CHECK(normalized_answer(answer) == normal);
}

TEST_CASE("beyond ASCII an answer is normalised as the script does") {
  const std::pair<std::string_view, std::string_view> cases[] = {
      {"“the” Café", "“ ” café"},  // punctuation that is not ASCII stays, but parts words
      {"Δelta—the—ΩMEGA", "δelta— —ωmega"},
      {"AN İstanbul", "i\u0307stanbul"},
      {"ÄÖÜ ẞ ДА", "äöü ß да"},
      {"½a Ⅻ a½ 3a ña añ", "½a ⅻ a½ 3a ña añ"},  // numbers and letters go on with a word
      {"a\u0301 an\u200Bthe", "\u0301 \u200B"},  // marks and what has no width do not
      {"x\u00A0y\u3000z\u2028\u0085", "x y z"},  // space
      {"x\x1Cy\x1D\x1E\x1Fz\x1B", "x y z\x1B"},  // Python's separators
      {"\u200B the \u200B", "\u200B \u200B"},
      {"中a文 a 中", "中a文 中"},
  };
  for (const auto& [answer, normal] : cases)
    CHECK(normalized_answer(answer) == normal);
  CHECK_THROWS_AS(normalized_answer("caf\xE9"), input_error);
}

TEST_CASE("an exact match is one of normalised answers") {
  CHECK(exact_match("The Eiffel Tower!", "eiffel  tower"));
  CHECK(exact_match("the", "an"));
  CHECK(exact_match("", ""));
  CHECK_FALSE(exact_match("Eiffel Tower", "Eiffel"));
  CHECK_FALSE(exact_match("tower Eiffel", "Eiffel tower"));
  CHECK_FALSE(exact_match("", "x"));
}

TEST_CASE("the F1 of an answer counts words as often as both have them") {
  CHECK(answer_f1("the cat sat on the mat", "a cat on mat sat cat") == Approx(0.888888888888889));
  CHECK(answer_f1("to be or not to be", "be to be") == Approx(0.6666666666666666));
  CHECK(answer_f1("be to be", "to be or not to be") == Approx(0.6666666666666666));
  CHECK(answer_f1("in 1999, the", "1999") == Approx(0.6666666666666666));
  CHECK(answer_f1("in the year", "in") == Approx(0.6666666666666666));
  CHECK(answer_f1("cat dog", "fish") == 0);
  CHECK(answer_f1("Dog, cat.", "cat dog") == 1);
}

TEST_CASE("an answer without words has an F1 of 1 where none is right, else of 0") {
  CHECK(answer_f1("", "") == 1);
  CHECK(answer_f1("the", "an") == 1);
  CHECK(answer_f1("", "x") == 0);
  CHECK(answer_f1("x", "the") == 0);
}

TEST_CASE("of several truths the best counts") {
  const truths teams{"Carolina Panthers", "the Denver Broncos team", "Broncos"};
  CHECK_FALSE(exact_match("Denver Broncos", teams));
  CHECK(answer_f1("Denver Broncos", teams) == Approx(0.8));
  CHECK(exact_match("broncos", teams));
  CHECK(answer_f1("broncos", teams) == 1);
  CHECK(answer_f1("Ravens", teams) == 0);
}

TEST_CASE("truths that normalise to nothing count where all do") {
  CHECK_FALSE(exact_match("the", truths{"the", "x"}));
  CHECK(answer_f1("the", truths{"the", "x"}) == 0);
  CHECK(exact_match("...", truths{"the", "an"}));
  CHECK(answer_f1("...", truths{"the", "an"}) == 1);
  CHECK_FALSE(exact_match("x", truths{"the"}));
}

TEST_CASE("without truths the right answer is none") {
  CHECK(exact_match("", truths{}));
  CHECK(answer_f1("", truths{}) == 1);
  CHECK_FALSE(exact_match("x", truths{}));
  CHECK(answer_f1("x", truths{}) == 0);
}
