// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/read_failure.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/tsv.hpp>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using graft_test::scratch_folder;

using graft::labelled_text;

std::vector<labelled_text> labelled_in(std::string_view bytes, bool pairs = false) {
  return graft::read_labelled(scratch_folder().write("labelled.tsv", bytes), pairs);
}

std::string labelled_failure(std::string_view bytes, bool pairs = false) {
  return graft_test::read_failure(
      bytes, [&](const std::string& path) { graft::read_labelled(path, pairs); });
}

}  // namespace

TEST_CASE("each line is a text and its label") {
  const std::vector<labelled_text> two = {{"a film", "1", 1}, {"中 text ", "bad one", 2}};
  CHECK(labelled_in("a film\t1\n中 text \tbad one\n") == two);
  CHECK(labelled_in("a film\t1\n中 text \tbad one") == two);
  CHECK(labelled_in("a film\t1\r\n中 text \tbad one\r\n") == two);
  CHECK(labelled_in("\xEF\xBB\xBF"
                    "a film\t1\n中 text \tbad one") == two);
}

TEST_CASE("a first line that names the columns is a header") {
  const std::vector<labelled_text> one = {{"a", "1", 2}};
  CHECK(labelled_in("sentence\tlabel\na\t1\n") == one);
  CHECK(labelled_in("text\tlabel\r\na\t1\n") == one);
  CHECK(labelled_in("\xEF\xBB\xBFtext\tlabel\na\t1\n") == one);
  CHECK(labelled_in("a\t1\ntext\tlabel\n").size() == 2);
  CHECK(labelled_in("Sentence\tlabel\n").size() == 1);
}

TEST_CASE("a line of pairs is two texts and their label") {
  const std::vector<labelled_text> two = {{"a film", "1", 1, "no film"}, {"b", "0.5", 2, " c"}};
  CHECK(labelled_in("a film\tno film\t1\nb\t c\t0.5\n", true) == two);
  CHECK(labelled_in("\xEF\xBB\xBF"
                    "a film\tno film\t1\r\nb\t c\t0.5",
                    true) == two);
  const std::vector<labelled_text> one = {{"a", "1", 2, "b"}};
  CHECK(labelled_in("sentence1\tsentence2\tlabel\na\tb\t1\n", true) == one);
  CHECK(labelled_in("text1\ttext2\tlabel\r\na\tb\t1\n", true) == one);
  CHECK(labelled_in("text\tlabel\tlabel\na\tb\t1\n", true).size() == 2);
  CHECK_FALSE(labelled_in("a\tc\t1\n", true) == labelled_in("a\tb\t1\n", true));

  const std::string expected = ": expected text<TAB>text<TAB>label, found ";
  CHECK(labelled_failure("", true) == ":1" + expected + "the end of the file");
  CHECK(labelled_failure("text1\ttext2\tlabel\n", true) == ":1" + expected + "the end of the file");
  CHECK(labelled_failure("a\tb\t1\na\t1\n", true) == ":2" + expected + "2 columns");
  CHECK(labelled_failure("a\tb\tc\t1\n", true) == ":1" + expected + "4 columns");
  CHECK(labelled_failure("\tb\t1\n", true) == ":1" + expected + "an empty text");
  CHECK(labelled_failure("a\t\t1\n", true) == ":1" + expected + "an empty text");
  CHECK(labelled_failure("a\tb\t\n", true) == ":1" + expected + "an empty label");
  CHECK(labelled_failure("a\tb\t1\n\n", true) == ":2" + expected + "an empty line");
}

TEST_CASE("a label may be a score") {
  const auto score = [](const char* label) { return graft::score_of({"a", label, 3}, "dev.tsv"); };
  CHECK(score("3.8") == 3.8);
  CHECK(score("-1e-3") == -0.001);
  CHECK(score("5") == 5);
  for (const char* label : {"", "x", "1.5x", " 1", "1 ", "+1", "0x1", "nan", "inf", "1e999", "1,5"})
    CHECK_THROWS_WITH(score(label),
                      Catch::Contains("dev.tsv:3: expected a finite number as label, found \"" +
                                      std::string(label) + "\""));
  CHECK_THROWS_AS(score("x"), graft::input_error);
}

TEST_CASE("a bad line is reported with file and line") {
  const std::string expected = ": expected text<TAB>label, found ";
  CHECK(labelled_failure("") == ":1" + expected + "the end of the file");
  CHECK(labelled_failure("\xEF\xBB\xBF") == ":1" + expected + "the end of the file");
  CHECK(labelled_failure("text\tlabel\n") == ":1" + expected + "the end of the file");
  CHECK(labelled_failure("a\t1\nno tab\n") == ":2" + expected + "1 column");
  CHECK(labelled_failure("a\tb\t1\n") == ":1" + expected + "3 columns");
  CHECK(labelled_failure("\t1\n") == ":1" + expected + "an empty text");
  CHECK(labelled_failure("a\t\n") == ":1" + expected + "an empty label");
  CHECK(labelled_failure("a\t\r\n") == ":1" + expected + "an empty label");
  CHECK(labelled_failure("a\t1\n\nb\t2\n") == ":2" + expected + "an empty line");
  CHECK(labelled_failure("a\t1\nb\xC3\t2\n") ==
        ":2: expected UTF-8, found an invalid sequence at byte 1");
}

TEST_CASE("a file that cannot be read is named") {
  CHECK_THROWS_WITH(graft::read_labelled("/no/such/file.tsv"),
                    Catch::Contains("/no/such/file.tsv: expected a readable file"));
  CHECK_THROWS_WITH(graft::read_labelled(std::filesystem::temp_directory_path().string()),
                    Catch::Contains("found a folder"));
}

TEST_CASE("any bytes are read or refused") {
  std::mt19937 random(2);
  const std::string alphabet = "ab\t\t\n\n\r \xC3\xA9\xFF";
  int read_in_full = 0;
  for (int round = 0; round < 500; ++round) {
    std::string bytes;
    for (auto n = random() % 12; n > 0; --n)
      bytes += alphabet[random() % alphabet.size()];
    read_in_full += labelled_failure(bytes) == "no error";
  }
  CHECK(read_in_full > 0);
  CHECK(read_in_full < 250);
}

TEST_CASE("labels are sorted with numbers by their value") {
  using labels = std::vector<std::string>;
  CHECK(graft::label_set(labels{"10", "2", "1", "2"}).labels() == labels{"1", "2", "10"});
  CHECK(graft::label_set(labels{"pos", "neg", "Neutral"}).labels() ==
        labels{"Neutral", "neg", "pos"});
  CHECK(graft::label_set(labels{"class10", "class9", "class", "class09"}).labels() ==
        labels{"class", "class09", "class9", "class10"});
  CHECK(graft::label_set(labels{"123456789012345678901", "99999999999999999999"}).labels() ==
        labels{"99999999999999999999", "123456789012345678901"});
  CHECK(graft::label_set(labels{"1.10", "1.9", "-1"}).labels() == labels{"-1", "1.9", "1.10"});
}

TEST_CASE("the order of labels is an order") {
  std::mt19937 random(4);
  std::vector<std::string> labels;
  for (int i = 0; i < 60; ++i) {
    std::string label;
    for (auto n = random() % 5; n > 0; --n)
      label += "0019a-"[random() % 6];
    labels.push_back(label);
  }
  const auto less = graft::text_detail::natural_less;
  for (const auto& a : labels)
    for (const auto& b : labels) {
      CHECK(less(a, b) + less(b, a) + (a == b) == 1);
      for (const auto& c : labels)
        if (less(a, b) && less(b, c) && !less(a, c))
          FAIL(a << " < " << b << " < " << c);
    }
}

TEST_CASE("a label that training did not have is reported with file and line") {
  const graft::label_set set(std::vector<labelled_text>{{"x", "pos", 1}, {"y", "neg", 2}});
  CHECK(set.size() == 2);
  CHECK(set.find("pos") == 1);
  CHECK_FALSE(set.find("other").has_value());
  CHECK(set.index_of({"z", "neg", 5}, "dev.tsv") == 0);
  CHECK_THROWS_AS(set.index_of({"z", "other", 5}, "dev.tsv"), graft::input_error);
  CHECK_THROWS_WITH(set.index_of({"z", "other", 5}, "dev.tsv"),
                    Catch::Contains("dev.tsv:5: expected a label of the training file (\"neg\", "
                                    "\"pos\"), found \"other\""));
}
