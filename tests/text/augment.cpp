// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/augment.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace graft;
using graft_test::scratch_folder;
using steps = std::vector<augmentation>;
using words = std::vector<std::string>;

std::string once(std::string_view text, const steps& how, std::uint64_t seed = 0) {
  random_stream random(seed);
  return augment(text, how, random);
}

words split(const std::string& text) {
  std::istringstream in(text);
  words list;
  for (std::string word; in >> word;)
    list.push_back(word);
  return list;
}

std::string numbered(int n) {
  std::string text;
  for (int i = 0; i < n; ++i)
    text += (i ? " w" : "w") + std::to_string(i);
  return text;
}

std::shared_ptr<const synonym_table> table_of(std::map<std::string, words, std::less<>> synonyms) {
  return std::make_shared<synonym_table>(synonym_table{"", std::move(synonyms)});
}

// A number that is 0 in the mean, in standard deviations, for `hits` of n with probability p.
double deviations(int hits, int n, double p) { return (hits - n * p) / std::sqrt(n * p * (1 - p)); }

std::string refused_augmentation(std::string_view text) {
  try {
    parse_augmentation(text);
  } catch (const input_error& e) {
    return e.what();
  }
  return "no error";
}

// Texts of any words and white space, Unicode's too.
std::string random_text(std::mt19937& random) {
  const words pieces{"a",  "word", "é",  "中文",     ".",           " ",
                     "  ", "\t",   "\n", "\xC2\xA0", "\xE3\x80\x80"};
  std::string text;
  for (auto n = random() % 12; n > 0; --n)
    text += pieces[random() % pieces.size()];
  return text;
}

}  // namespace

TEST_CASE("deletion takes each word with its probability") {
  const std::string text = numbered(20);
  int left = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const words kept = split(once(text, {random_deletion{.share = 0.3}}, seed));
    left += static_cast<int>(kept.size());
    CHECK(std::is_sorted(kept.begin(), kept.end(), [](const auto& a, const auto& b) {
      return std::stoi(a.substr(1)) < std::stoi(b.substr(1));
    }));
  }
  CHECK(std::abs(deviations(left, 20000, 0.7)) < 4);
}

TEST_CASE("deletion leaves a word, any of them") {
  std::set<std::string> left;
  for (std::uint64_t seed = 0; seed < 100; ++seed)
    left.insert(once(" a b  c ", {random_deletion{.share = 1}}, seed));
  CHECK(left == std::set<std::string>{" a ", " b ", " c "});
  CHECK(once("one", {random_deletion{.share = 1}}) == "one");
}

TEST_CASE("a deleted word takes the white space before it, or behind it at the front") {
  std::set<std::string> left;
  for (std::uint64_t seed = 0; seed < 200; ++seed)
    left.insert(once(" a\tb  c\n", {random_deletion{.share = 0.5}}, seed));
  CHECK(left == std::set<std::string>{" a\tb  c\n", " b  c\n", " a  c\n", " a\tb\n", " a\n", " b\n",
                                      " c\n"});
}

TEST_CASE("swaps are n of two different words, between white space that stays") {
  // ⌊0.1 · 10⌋ = 1 and ⌊0.39 · 10⌋ = 3 swaps; a share of a short text is one.
  const std::string text = "0 1  2 3\t4 5 6 7 8 9 ";
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const auto moved = [&](double share) {
      const std::string after = once(text, {random_swap{share}}, seed);
      REQUIRE(after.size() == text.size());
      int n = 0;
      for (std::size_t i = 0; i < text.size(); ++i) {
        CHECK((after[i] <= ' ' ? after[i] : 'w') == (text[i] <= ' ' ? text[i] : 'w'));
        n += after[i] != text[i];
      }
      return n;
    };
    CHECK(moved(0.1) == 2);
    CHECK(moved(0.01) == 2);
    CHECK(moved(0.39) <= 6);
  }
  CHECK(once("a b", {random_swap{.share = 0.1}}) == "b a");
  CHECK(once(" a ", {random_swap{.share = 1}}) == " a ");
}

TEST_CASE("every two words are swapped alike") {
  std::map<std::string, int> seen;
  for (std::uint64_t seed = 0; seed < 3000; ++seed)
    ++seen[once("a b c", {random_swap{.share = 0.1}}, seed)];
  CHECK(seen.size() == 3);
  for (const char* text : {"b a c", "c b a", "a c b"})
    CHECK(std::abs(deviations(seen[text], 3000, 1. / 3)) < 4);
  // Three swaps in a row: an odd permutation, or with four an even one.
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::string three = once("a b c", {random_swap{.share = 1}}, seed);
    CHECK((three == "b a c" || three == "c b a" || three == "a c b"));
  }
}

TEST_CASE("masking puts the mask in the place of each word with its probability") {
  const std::string text = numbered(20);
  int masked = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const words after = split(once(text, {word_masking{.share = 0.3}}, seed));
    const words before = split(text);
    REQUIRE(after.size() == 20);
    for (std::size_t i = 0; i < 20; ++i) {
      CHECK((after[i] == "[MASK]" || after[i] == before[i]));
      masked += after[i] == "[MASK]";
    }
  }
  CHECK(std::abs(deviations(masked, 20000, 0.3)) < 4);
  CHECK(once("\ta  b,\n", {word_masking{.share = 1, .mask = "<mask>"}}) == "\t<mask>  <mask>\n");
}

TEST_CASE("synonyms replace n of the words that have any") {
  const auto table = table_of({{"a", {"A1", "A2"}}, {"b", {"two words"}}});
  const auto changed = [&](const std::string& text, double share, std::uint64_t seed) {
    const words before = split(text);
    const words after = split(once(text, {synonym_replacement{share, table}}, seed));
    REQUIRE(before.size() == after.size());
    int n = 0;
    for (std::size_t i = 0; i < before.size(); ++i) {
      n += before[i] != after[i];
      CHECK((before[i] == after[i] || (before[i] == "a" && after[i].starts_with("A"))));
    }
    return n;
  };
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    CHECK(changed("a x a x a x a x a x", 0.2, seed) == 2);
    CHECK(changed("a x a x a x a x a x", 0.05, seed) == 1);
    CHECK(changed("a x a x a x a x a x", 1, seed) == 5);
    CHECK(changed("x y z", 1, seed) == 0);
  }
  CHECK(once(" x\tb, y", {synonym_replacement{0.5, table}}) == " x\ttwo words, y");
}

TEST_CASE("words and synonyms are drawn alike") {
  const auto table = table_of({{"a", {"p", "q"}}, {"b", {"r"}}});
  std::map<std::string, int> seen;
  for (std::uint64_t seed = 0; seed < 4000; ++seed)
    ++seen[once("a b", {synonym_replacement{0.5, table}}, seed)];
  CHECK(seen.size() == 3);
  CHECK(std::abs(deviations(seen["a r"], 4000, 0.5)) < 4);
  CHECK(std::abs(deviations(seen["p b"], 4000, 0.25)) < 4);
  CHECK(std::abs(deviations(seen["q b"], 4000, 0.25)) < 4);
}

TEST_CASE("a share of 0 changes nothing") {
  const steps none{random_deletion{0}, random_swap{0}, word_masking{0},
                   synonym_replacement{0, table_of({{"a", {"b"}}})}};
  CHECK(once(" a  a\ta a ", none) == " a  a\ta a ");
  CHECK(once("a b", {}) == "a b");
}

TEST_CASE("steps act one after another, from one stream") {
  const auto table = table_of({{"word", {"motion picture", "x"}}, {"a", {"b"}}});
  const steps all{synonym_replacement{0.5, table}, random_deletion{0.2}, random_swap{0.5},
                  word_masking{0.3}};
  std::mt19937 texts(3);
  int changed = 0;
  for (std::uint64_t seed = 0; seed < 500; ++seed) {
    const std::string text = random_text(texts);
    random_stream random(seed);
    std::string by_step = text;
    for (const augmentation& step : all)
      by_step = augment(by_step, std::vector{step}, random);
    CHECK(once(text, all, seed) == by_step);
    CHECK(once(text, all, seed) == once(text, all, seed));
    changed += once(text, all, seed) != once(text, all, seed + 1);
    CHECK(unicode::first_invalid_byte(by_step) == -1);
    const bool blank = text_detail::is_blank(text);
    CHECK(text_detail::is_blank(by_step) == blank);
    if (blank)
      CHECK(by_step == text);
  }
  CHECK(changed > 100);
}

TEST_CASE("an example's stream depends on seed, epoch and example") {
  std::set<std::uint64_t> first;
  const auto bits = [](random_stream random) {
    const std::uint64_t high = random.bits();
    return high << 32 | random.bits();
  };
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::uint64_t epoch = 0; epoch < 10; ++epoch) {
      for (std::uint64_t example = 0; example < 100; ++example)
        first.insert(bits(augmentation_stream(seed, epoch, example)));
      // What order, dropout (by step) and hidden tokens are drawn from.
      first.insert(bits(random_stream(seed, mix(epoch + 1))));
      first.insert(bits(random_stream(seed, epoch)));
      first.insert(bits(random_stream(seed ^ mix(epoch), mix(7))));
    }
  CHECK(first.size() == 10 * 10 * 103);
  CHECK(bits(augmentation_stream(1, 2, 3)) == bits(augmentation_stream(1, 2, 3)));
}

TEST_CASE("what augment cannot do is an error") {
  const auto fails = [](std::string_view text, augmentation step) {
    try {
      once(text, {std::move(step)});
    } catch (const input_error& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  CHECK(fails("a \xFF", random_swap{}) ==
        "graft: augment: byte 2: expected UTF-8, found an invalid sequence");
  CHECK(fails("a", random_deletion{1.5}) == "graft: delete: expected a share of 0 to 1, found 1.5");
  CHECK(fails("a", random_swap{-0.5}) == "graft: swap: expected a share of 0 to 1, found -0.5");
  CHECK(fails("a", word_masking{std::numeric_limits<double>::quiet_NaN()}) ==
        "graft: mask: expected a share of 0 to 1, found nan");
  CHECK(fails("a", word_masking{0.1, "two words"}) ==
        "graft: mask: expected a word without white space, found \"two words\"");
  CHECK(fails("a", word_masking{0.1, ""}) ==
        "graft: mask: expected a word without white space, found \"\"");
  CHECK(fails("a", synonym_replacement{}) == "graft: synonyms: expected a table, found none");
}

TEST_CASE("a step is written as it is read") {
  for (const char* text :
       {"delete:0.1", "swap:0.05", "mask:0.15", "mask:1:<mask>", "delete:0", "mask:0.2:a:b"})
    CHECK(to_string(parse_augmentation(text)) == text);
  CHECK(std::get<random_deletion>(parse_augmentation("delete:0.25")).share == 0.25);
  CHECK(std::get<random_swap>(parse_augmentation("swap:1e-2")).share == 0.01);
  CHECK(std::get<word_masking>(parse_augmentation("mask:0.5")).mask == "[MASK]");
  CHECK(std::get<word_masking>(parse_augmentation("mask:0.5:a:b")).mask == "a:b");
  CHECK(to_string(synonym_replacement{0.3, nullptr}) == "synonyms::0.3");

  const scratch_folder folder;
  const std::string path = folder.write("a:table.tsv", "film\tmovie\n");
  const augmentation step = parse_augmentation("synonyms:" + path + ":0.2");
  CHECK(std::get<synonym_replacement>(step).share == 0.2);
  CHECK(to_string(step) == "synonyms:" + path + ":0.2");
  CHECK(once("Film", {step}) == "Movie");
}

TEST_CASE("a text that says no step is reported whole") {
  const auto message = [](const std::string& text, const std::string& rest) {
    return "graft: augmentation \"" + text + "\": expected " + rest;
  };
  const std::string any =
      "delete:SHARE, swap:SHARE, mask:SHARE, mask:SHARE:WORD or synonyms:FILE:SHARE, found ";
  CHECK(refused_augmentation("") == message("", any + "nothing"));
  CHECK(refused_augmentation("shuffle:0.1") == message("shuffle:0.1", any + "\"shuffle\""));
  CHECK(refused_augmentation("Delete:0.1") == message("Delete:0.1", any + "\"Delete\""));
  const std::string share = "a share of 0 to 1, found ";
  CHECK(refused_augmentation("delete") == message("delete", share + "nothing"));
  CHECK(refused_augmentation("delete:") == message("delete:", share + "nothing"));
  CHECK(refused_augmentation("swap:1.1") == message("swap:1.1", share + "\"1.1\""));
  CHECK(refused_augmentation("swap:-0.1") == message("swap:-0.1", share + "\"-0.1\""));
  CHECK(refused_augmentation("swap:nan") == message("swap:nan", share + "\"nan\""));
  CHECK(refused_augmentation("mask:0.1x") == message("mask:0.1x", share + "\"0.1x\""));
  CHECK(refused_augmentation("delete:0.1:2") == message("delete:0.1:2", share + "\"0.1:2\""));
  const std::string mask = "a word without white space as mask, found ";
  CHECK(refused_augmentation("mask:0.1:") == message("mask:0.1:", mask + "nothing"));
  CHECK(refused_augmentation("mask:0.1:a b") == message("mask:0.1:a b", mask + "\"a b\""));
  CHECK(refused_augmentation("mask:0.1:\xFF") == message("mask:0.1:\xFF", mask + "\"\xFF\""));
  CHECK(refused_augmentation("synonyms:0.1") ==
        message("synonyms:0.1", "synonyms:FILE:SHARE, found \"synonyms:0.1\""));
  CHECK(refused_augmentation("synonyms::0.1") ==
        message("synonyms::0.1", "synonyms:FILE:SHARE, found \"synonyms::0.1\""));
  CHECK(refused_augmentation("synonyms:FILE:2") == message("synonyms:FILE:2", share + "\"2\""));
  CHECK(refused_augmentation("synonyms:/no/table:0.1")
            .starts_with("graft: /no/table: expected a readable"));
}
