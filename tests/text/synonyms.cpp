// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/read_failure.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/synonyms.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace {

using graft_test::scratch_folder;
using words = std::vector<std::string>;

graft::synonym_table synonyms_in(std::string_view bytes) {
  return graft::read_synonyms(scratch_folder().write("table.tsv", bytes));
}

std::string synonyms_failure(std::string_view bytes) {
  return graft_test::read_failure(bytes,
                                  [](const std::string& path) { graft::read_synonyms(path); });
}

// What `word` becomes with its first synonym; "" when the table does not have it.
std::string with_synonym(const graft::synonym_table& table, const std::string& word) {
  const auto known = graft::text_detail::look_up(table, word, 0);
  return known.synonyms ? known.replaced_by(known.synonyms->front()) : "";
}

}  // namespace

TEST_CASE("a line is a word and its synonyms") {
  const auto table = synonyms_in("film\tmovie\tmotion picture\nÜbel\tunheil\n");
  CHECK(table.synonyms.size() == 2);
  CHECK(table.synonyms.at("film") == words{"movie", "motion picture"});
  CHECK(table.synonyms.at("übel") == words{"unheil"});
  CHECK(table.source.ends_with("table.tsv"));
}

TEST_CASE("a byte order mark, CRLF and a last line without an end are accepted") {
  const auto table = synonyms_in(
      "\xEF\xBB\xBF"
      "a\tb\r\nc\td\te");
  CHECK(table.synonyms.at("a") == words{"b"});
  CHECK(table.synonyms.at("c") == words{"d", "e"});
}

TEST_CASE("lines for one word are taken together") {
  CHECK(synonyms_in("a\tb\nx\ty\nA\tc\tb\n").synonyms.at("a") == words{"b", "c", "b"});
}

TEST_CASE("a bad line of a table is reported with file and line") {
  const std::string expected = ": expected word<TAB>synonym, found ";
  CHECK(synonyms_failure("") == ":1" + expected + "the end of the file");
  CHECK(synonyms_failure("\xEF\xBB\xBF") == ":1" + expected + "the end of the file");
  CHECK(synonyms_failure("a\tb\nword\n") == ":2" + expected + "1 column");
  CHECK(synonyms_failure("a\tb\n\nc\td\n") == ":2" + expected + "an empty line");
  CHECK(synonyms_failure("a b\tc\n") == ":1: expected a word without white space, found \"a b\"");
  CHECK(synonyms_failure("\tc\n") == ":1: expected a word without white space, found \"\"");
  CHECK(synonyms_failure("a\tb\nc\t\n") == ":2: expected synonyms of \"c\", found an empty one");
  CHECK(synonyms_failure("c\td\t\te\n") == ":1: expected synonyms of \"c\", found an empty one");
  CHECK(synonyms_failure("c\td\t\n") == ":1: expected synonyms of \"c\", found an empty one");
  CHECK(synonyms_failure("c\t \xC2\xA0\n") == ":1: expected synonyms of \"c\", found an empty one");
  CHECK(synonyms_failure("a\tb\nc\xC3\td\n") ==
        ":2: expected UTF-8, found an invalid sequence at byte 1");
}

TEST_CASE("a table that cannot be read is named") {
  CHECK_THROWS_WITH(graft::read_synonyms("/no/such/table.tsv"),
                    Catch::Contains("/no/such/table.tsv: expected a readable file"));
  CHECK_THROWS_WITH(graft::read_synonyms(std::filesystem::temp_directory_path().string()),
                    Catch::Contains("found a folder"));
}

TEST_CASE("words are found in any case and inside punctuation, and keep both") {
  const graft::synonym_table table{
      "", {{"film", {"movie"}}, {"u.s.", {"America"}}, {"émile", {"édouard"}}, {"ǆ", {"ǆon"}}}};
  CHECK(with_synonym(table, "film") == "movie");
  CHECK(with_synonym(table, "Film") == "Movie");
  CHECK(with_synonym(table, "FILM") == "Movie");
  CHECK(with_synonym(table, "fILM") == "movie");
  CHECK(with_synonym(table, "(film),") == "(movie),");
  CHECK(with_synonym(table, "“Film”") == "“Movie”");
  CHECK(with_synonym(table, "films") == "");
  CHECK(with_synonym(table, "film-like") == "");
  CHECK(with_synonym(table, "...") == "");
  CHECK(with_synonym(table, "u.s.") == "America");
  CHECK(with_synonym(table, "(u.s.)") == "");  // the last point is taken for punctuation
  CHECK(with_synonym(table, "Émile") == "Édouard");
  CHECK(with_synonym(table, "ǅ") == "ǅon");  // a title-case letter, and the title case of one
}

TEST_CASE("a word without synonyms is as good as none") {
  CHECK(with_synonym({"", {{"film", {}}}}, "film") == "");
}
