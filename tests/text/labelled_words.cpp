// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/golden_tokenizer.hpp"
#include "support/read_failure.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/labelled_words.hpp>

#include <string>
#include <string_view>
#include <vector>

namespace {

using graft::labelled_words;
using graft_test::golden_tokenizer;
using graft_test::scratch_folder;
using ids = std::vector<std::int32_t>;
using strings = std::vector<std::string>;
using indices = std::vector<graft::index_t>;

std::vector<labelled_words> words_in(std::string_view bytes) {
  return graft::read_labelled_words(scratch_folder().write("words.txt", bytes));
}

std::string words_failure(std::string_view bytes) {
  return graft_test::read_failure(
      bytes, [](const std::string& path) { graft::read_labelled_words(path); });
}

}  // namespace

TEST_CASE("each line is a word and its tag, and an empty line ends the sentence") {
  const std::vector<labelled_words> two = {{{"Zoë", "slept"}, {"B-PER", "O"}, 1},
                                           {{"Ja"}, {"O"}, 4}};
  CHECK((words_in("Zoë\tB-PER\nslept\tO\n\nJa\tO\n") == two));
  CHECK((words_in("Zoë B-PER\nslept O\n\nJa O") == two));
  CHECK((words_in("\xEF\xBB\xBFZoë\tB-PER\r\nslept\tO\r\n\r\nJa\tO\r\n\r\n") == two));
  CHECK((words_in(" Zoë NNP  I-NP\tB-PER \nslept VBD I-VP O\n \t\nJa UH O O\n\n\n") == two));
}

TEST_CASE("a line that begins a document is no word") {
  const std::vector<labelled_words> two = {{{"a"}, {"O"}, 3}, {{"b"}, {"O"}, 5}};
  CHECK((words_in("-DOCSTART- -X- -X- O\n\na O\n-DOCSTART-\nb O\n") == two));
}

TEST_CASE("a bad line of words is reported with file and line") {
  const std::string expected = ": expected word<TAB>tag, found ";
  CHECK(words_failure("") == ":1" + expected + "the end of the file");
  CHECK(words_failure("\n\n-DOCSTART- O\n") == ":3" + expected + "the end of the file");
  CHECK(words_failure("a O\nb\n") == ":2" + expected + "1 column");
  CHECK(words_failure("a O\n\nb\xC3 O\n") ==
        ":3: expected UTF-8, found an invalid sequence at byte 1");
  CHECK_THROWS_WITH(graft::read_labelled_words("/no/such/file"),
                    Catch::Contains("/no/such/file: expected a readable file"));
}

// Recorded with transformers 5.23, is_split_into_words=True.
TEST_CASE("words become the tokens that Hugging Face's tokenizers make of them") {
  const strings words = {"The", "film's", "unaffable", "é", "\u200B", "[SEP]", "end"};
  const auto bert = golden_tokenizer("bert_uncased");
  const auto whole = graft::encode_words(bert, words, 64);
  CHECK(whole.ids == ids{2, 515, 60, 573, 36, 15, 28, 874, 5, 33, 3, 542, 3});
  CHECK(whole.types == ids(13, 0));
  CHECK(whole.words == indices{-1, 0, 1, 1, 1, 1, 1, 2, 2, 3, 5, 6, -1});
  CHECK_FALSE(whole.truncated);
  const auto cut = graft::encode_words(bert, words, 7);
  CHECK(cut.ids == ids{2, 515, 60, 573, 36, 15, 3});
  CHECK(cut.words == indices{-1, 0, 1, 1, 1, 1, -1});
  CHECK(cut.truncated);

  for (const auto* name : {"roberta", "roberta_prefix"}) {
    const auto roberta = golden_tokenizer(name);
    const auto some = graft::encode_words(roberta, strings{"don't", "😀", "<mask>", "x"}, 64);
    CHECK(some.ids == ids{0, 225, 297, 296, 225, 273, 4, 492, 2});
    CHECK(some.words == indices{-1, 0, 0, 0, 1, 1, 2, 3, -1});
    CHECK(graft::encode_words(roberta, words, 7).ids == ids{0, 225, 770, 435, 394, 81, 2});
  }
  CHECK(graft::encode_words(bert, strings{}, 9).words == indices{-1, -1});
  CHECK_THROWS_AS(graft::encode_words(bert, words, 1), graft::input_error);
  CHECK_THROWS_AS(graft::encode_words(bert, strings{"a", "\xFF"}, 9), graft::input_error);
}

TEST_CASE("the first piece of a word has its label") {
  graft::encoded_words encoded;
  encoded.words = {-1, 0, 1, 1, 1, 3, 3, -1};
  CHECK(graft::piece_labels(encoded, ids{5, 6, 7, 8}) ==
        ids{-100, 5, 6, -100, -100, 8, -100, -100});
  CHECK(graft::piece_labels(encoded, ids{5, 6, 7, 8}, -1) == ids{-1, 5, 6, -1, -1, 8, -1, -1});
  CHECK_THROWS_WITH(graft::piece_labels(encoded, ids{5, 6, 7}),
                    Catch::Contains("word labels: expected at least 4, found 3"));
}
