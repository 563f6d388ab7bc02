// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/golden_tokenizer.hpp"

#include <graft/text/question_windows.hpp>

#include <algorithm>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace {

using graft::index_t;
using graft::question;
using graft_test::golden_tokenizer;
using ids = std::vector<std::int32_t>;

question ask(const std::string& text, const std::string& context, const std::string& answer = "") {
  question q{"q7", text, context, {}};
  if (!answer.empty()) {
    q.answers = {answer};
    q.answer_first = static_cast<index_t>(context.find(answer));
    q.answer_end = q.answer_first + static_cast<index_t>(answer.size());
  }
  return q;
}

// `numbers` are answer_first, answer_last, context_row, context_rows and context_token.
struct golden_window {
  ids tokens;
  ids numbers;
};

void check(const graft::question_windows& found, const std::vector<golden_window>& expected,
           std::int32_t second_type) {
  REQUIRE(found.windows.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    INFO("window " << i);
    const auto& window = found.windows[i];
    CHECK(window.ids == expected[i].tokens);
    ids types(static_cast<std::size_t>(window.context_row), 0);
    types.resize(window.ids.size(), second_type);
    CHECK(window.types == types);
    CHECK(ids{window.answer_first, window.answer_last, window.context_row, window.context_rows,
              window.context_token} == expected[i].numbers);
  }
}

// The text of the answer's rows.
std::string answer_of(const question& q, const graft::question_windows& all,
                      const graft::question_window& window) {
  const auto token = [&](std::int32_t row) {
    return window.context_token + row - window.context_row;
  };
  return graft::answer_text(q, all.places, token(window.answer_first), token(window.answer_last));
}

}  // namespace

// Recorded with transformers 5.23: truncation="only_second", return_overflowing_tokens=True.
TEST_CASE("a context is cut into the windows that Hugging Face's tokenizers make") {
  const auto q = ask(" Where?", "The quick brown fox jumps over the lazy dog. A résumé, unaffable.",
                     "lazy dog");
  const std::vector<golden_window> bert = {
      {{2, 54, 743, 72, 3, 515, 668, 19, 21, 26, 843, 790, 9, 60, 10, 22, 79, 31, 611, 14, 3},
       {0, 0, 5, 15, 0}},
      {{2, 54, 743, 72, 3, 10, 22, 79, 31, 611, 14, 863, 515, 50, 6, 92, 56, 581, 24, 37, 3},
       {13, 18, 5, 15, 9}},
      {{2, 54, 743, 72, 3, 6, 92, 56, 581, 24, 37, 20, 669, 14, 31, 610, 58, 874, 5, 37, 3},
       {0, 0, 5, 15, 18}},
  };
  const auto wordpieces = graft::cut_windows(golden_tokenizer("bert_uncased"), q, {21, 6});
  check(wordpieces, bert, 1);
  CHECK(wordpieces.places.size() == 33);
  CHECK(answer_of(q, wordpieces, wordpieces.windows[1]) == "lazy dog");

  const std::vector<golden_window> roberta = {
      {{0,   59,  515, 35,  2,   2,   770, 608, 819, 380, 422,
        880, 435, 842, 225, 823, 419, 87,  225, 547, 369, 2},
       {0, 0, 6, 15, 0}},
      {{0,   59,  515, 35,  2,   2,  823, 419, 87,  225, 547,
        369, 225, 456, 884, 655, 18, 225, 37,  225, 851, 2},
       {13, 15, 6, 15, 9}},
      {{0, 59, 515, 35, 2, 2, 655, 18, 225, 37, 225, 851, 854, 833, 16, 496, 529, 803, 345, 18, 2},
       {0, 0, 6, 14, 18}},
  };
  const auto bytes = graft::cut_windows(golden_tokenizer("roberta"), q, {22, 6});
  check(bytes, roberta, 0);
  CHECK(answer_of(q, bytes, bytes.windows[1]) == "lazy dog");
}

TEST_CASE("windows overlap as asked and leave no token out") {
  const auto tokenizer = golden_tokenizer("bert_uncased");
  const std::string context = "the quick brown fox jumps over the lazy dog and is a mess";
  const auto q = ask("a", context);
  const auto tokens = tokenizer.tokenize(context);
  const auto size = static_cast<index_t>(tokens.size());
  for (index_t room = 1; room <= size + 2; ++room)
    for (index_t overlap = 0; overlap < room; ++overlap) {
      INFO(room << " tokens, " << overlap << " shared");
      const auto all = graft::cut_windows(tokenizer, q, {room + 4, overlap});
      index_t end = 0;
      bool good = true;
      for (const auto& w : all.windows) {
        good = good && w.context_token == (end == 0 ? 0 : end - overlap) &&
               w.context_rows == std::min(room, size - w.context_token);
        for (std::int32_t i = 0; i < w.context_rows; ++i)
          good = good && w.ids[static_cast<std::size_t>(w.context_row + i)] ==
                             tokens[static_cast<std::size_t>(w.context_token + i)];
        good = good && w.context_token + w.context_rows > end;
        end = w.context_token + w.context_rows;
      }
      CHECK(good);
      CHECK(end == size);
    }
}

TEST_CASE("an answer is in the windows that have all its tokens") {
  const auto tokenizer = golden_tokenizer("roberta");
  const std::string context = "It was 1990s ½ 中文 jazz";
  for (const std::string answer : {"It", "1990", "½", "文", "½ 中文", "was 1990s", "jazz"}) {
    const auto q = ask("When?", context, answer);
    std::set<std::string> texts;
    for (index_t length = 11; length < 40; ++length) {
      const auto all = graft::cut_windows(tokenizer, q, {length, 2});
      for (const auto& window : all.windows)
        if (window.answer_first > 0) {
          CHECK(window.answer_first >= window.context_row);
          CHECK(window.answer_last < window.context_row + window.context_rows);
          texts.insert(answer_of(q, all, window));
        }
    }
    INFO(answer);
    REQUIRE(texts.size() == 1);
    CHECK_THAT(*texts.begin(), Catch::Contains(answer));
    CHECK(texts.begin()->find(' ') == answer.find(' '));
  }
}

TEST_CASE("a question without an answer in tokens has none in any window") {
  const auto tokenizer = golden_tokenizer("bert_uncased");
  for (const auto& q : {ask("a", "b c"), ask("a", "b \u200B c", "\u200B"), ask("a", "")}) {
    const auto all = graft::cut_windows(tokenizer, q);
    REQUIRE(all.windows.size() == 1);
    CHECK(all.windows[0].answer_first == 0);
    CHECK(all.windows[0].answer_last == 0);
    CHECK(all.windows[0].context_rows == static_cast<std::int32_t>(all.places.size()));
  }
}

TEST_CASE("windows without room and answers outside the context are refused") {
  const auto tokenizer = golden_tokenizer("bert_uncased");
  const auto q = ask("a a a", "b c d e f g");
  CHECK(graft::cut_windows(tokenizer, q, {9, 2}).windows.size() == 4);
  CHECK_THROWS_WITH(graft::cut_windows(tokenizer, q, {8, 2}),
                    Catch::Contains("question \"q7\": expected room for more than 2 tokens of its "
                                    "context among 8, found room for 2 beside the question's 3"));
  CHECK_THROWS_AS(graft::cut_windows(tokenizer, ask("a a a", ""), {5, 0}), graft::input_error);
  CHECK_THROWS_AS(graft::cut_windows(tokenizer, q, {2, 0}), graft::input_error);
  CHECK_THROWS_WITH(graft::cut_windows(tokenizer, q, {9, -1}),
                    Catch::Contains("overlap") && Catch::Contains("found -1"));
  CHECK(graft::cut_windows(tokenizer, q, {12, 100}).windows.size() == 1);
  CHECK_THROWS_WITH(graft::cut_windows(tokenizer, ask("a", "b\xFF")),
                    Catch::Contains("question \"q7\", context: byte 1: expected UTF-8"));

  const auto all = graft::cut_windows(tokenizer, q);
  CHECK(graft::answer_text(q, all.places, 1, 2) == "c d");
  CHECK_THROWS_WITH(graft::answer_text(q, all.places, 1, 6),
                    Catch::Contains("among 6 of its context, found 1 to 6"));
  CHECK_THROWS_AS(graft::answer_text(q, all.places, 2, 1), graft::input_error);
  CHECK_THROWS_AS(graft::answer_text(q, all.places, -1, 1), graft::input_error);
}
