// SPDX-License-Identifier: MIT
// train/span_metrics.hpp. Spans and scores are those of seqeval 1.2.2 in its default mode.
#include <graft/train/span_metrics.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/check_scores.hpp"

using namespace graft;
using graft_test::check_scores;

namespace {

using names_list = std::vector<std::string>;
using spans = std::vector<labelled_span>;
using sentence = std::pair<std::string_view, std::string_view>;  // truth, prediction

const names_list bio{"O", "B-PER", "I-PER", "B-LOC", "I-LOC", "B-MISC", "I-MISC"};
const names_list iobes{"O",     "S-A",   "B-A",   "I-A", "E-A", "S-A-B",
                       "B-A-B", "I-A-B", "E-A-B", "B",   "I"};

// One hexadecimal digit a label.
std::vector<std::int32_t> hex_labels(std::string_view text) {
  std::vector<std::int32_t> r;
  for (char c : text)
    r.push_back(c >= 'a' ? c - 'a' + 10 : c - '0');
  return r;
}

spans read(std::string_view text, const names_list& names) {
  return spans_of(hex_labels(text), names);
}

span_counts counts_of(const std::vector<sentence>& sentences, const names_list& names) {
  span_counts counts;
  for (const auto& [truth, prediction] : sentences)
    counts.add(hex_labels(truth), hex_labels(prediction), names);
  return counts;
}

void check_tally(const span_counts::tally& t, std::int64_t hits, std::int64_t predicted,
                 std::int64_t actual) {
  CHECK(t.hits == hits);
  CHECK(t.predicted == predicted);
  CHECK(t.actual == actual);
}

}  // namespace

TEST_CASE("a span goes from its B through the I of its type") {
  CHECK(read("0122034", bio) == spans{{"PER", 1, 3}, {"LOC", 5, 6}});
  CHECK(read("1", bio) == spans{{"PER", 0, 0}});
  CHECK(read("12", bio) == spans{{"PER", 0, 1}});
  CHECK(read("112", bio) == spans{{"PER", 0, 0}, {"PER", 1, 2}});
}

TEST_CASE("an I without its B begins a span") {
  CHECK(read("0220", bio) == spans{{"PER", 1, 2}});
  CHECK(read("244", bio) == spans{{"PER", 0, 0}, {"LOC", 1, 2}});
  CHECK(read("142", bio) == spans{{"PER", 0, 0}, {"LOC", 1, 1}, {"PER", 2, 2}});
  CHECK(read("202", bio) == spans{{"PER", 0, 0}, {"PER", 2, 2}});
}

TEST_CASE("E and S end spans") {
  CHECK(read("234", iobes) == spans{{"A", 0, 2}});
  CHECK(read("2433", iobes) == spans{{"A", 0, 1}, {"A", 2, 3}});
  CHECK(read("44", iobes) == spans{{"A", 0, 0}, {"A", 1, 1}});
  CHECK(read("13", iobes) == spans{{"A", 0, 0}, {"A", 1, 1}});
  CHECK(read("14", iobes) == spans{{"A", 0, 0}, {"A", 1, 1}});
  CHECK(read("31", iobes) == spans{{"A", 0, 0}, {"A", 1, 1}});
}

TEST_CASE("the type is all that follows the first dash, of a bare tag _") {
  CHECK(read("67", iobes) == spans{{"A-B", 0, 1}});
  CHECK(read("9aa0a", iobes) == spans{{"_", 0, 2}, {"_", 4, 4}});
  CHECK(read("01", {"B-", "I-"}) == spans{{"_", 0, 1}});
}

TEST_CASE("runs of a name without a tag are spans of that type") {
  const names_list plain{"O", "PER", "ORG", "BAR", "B", ""};
  CHECK(read("0110122033", plain) ==
        spans{{"PER", 1, 2}, {"PER", 4, 4}, {"ORG", 5, 6}, {"BAR", 8, 9}});
  CHECK(read("055", plain) == spans{{"", 1, 2}});
  CHECK(read("011", {"B-PER", "PER"}) == spans{{"PER", 0, 2}});
}

TEST_CASE("no labels and labels outside of spans have no spans") {
  CHECK(read("", bio).empty());
  CHECK(read("", {}).empty());
  CHECK(read("000", bio).empty());
}

TEST_CASE("a label must have a name") {
  CHECK_THROWS_AS(read("07", bio), input_error);
  CHECK_THROWS_WITH(read("07", bio), "graft: spans_of: label 1: expected one below 7, found 7");
  CHECK_THROWS_WITH(spans_of(std::vector<std::int32_t>{-100}, bio),
                    "graft: spans_of: label 0: expected one below 7, found -100");
}

TEST_CASE("scores of BIO labels are seqeval's") {
  const span_counts counts =
      counts_of({{"0040006664444451", "0040006604444431"},
                 {"000000444666666634442266", "000300440666606634442266"},
                 {"6", "6"},
                 {"000455664422222222466244433333", "060455664322221252466244403333"},
                 {"124211512222444444336", "124211512222444414336"}},
                bio);
  CHECK(counts.types.size() == 3);
  check_tally(counts.types.at("LOC"), 13, 20, 17);
  check_tally(counts.types.at("MISC"), 7, 12, 10);
  check_tally(counts.types.at("PER"), 8, 12, 9);
  check_tally(counts.total(), 28, 44, 36);
  check_scores(scores_of(counts, "LOC"), 0.65, 0.7647058823529411, 0.7027027027027027);
  check_scores(scores_of(counts, "MISC"), 0.5833333333333334, 0.7, 0.6363636363636365);
  check_scores(scores_of(counts, "PER"), 0.6666666666666666, 0.8888888888888888, 0.761904761904762);
  check_scores(micro_scores(counts), 0.6363636363636364, 0.7777777777777778, 0.7);
  check_scores(macro_scores(counts), 0.6333333333333333, 0.7845315904139433, 0.7003237003237004);
}

TEST_CASE("scores of IOBES labels are seqeval's") {
  const span_counts counts =
      counts_of({{"0000069aa3aaaa7706444441", "0000769a33aaaa7706944441"},
                 {"0aa6992a7777761161777788888889", "0aa6992a7477751141977788888769"},
                 {"985399aaaaaaaa33337888aa0883", "985399aaaaaaaa36337888aa0883"}},
                iobes);
  CHECK(counts.types.size() == 3);
  check_tally(counts.types.at("A"), 11, 16, 14);
  check_tally(counts.types.at("A-B"), 18, 23, 21);
  check_tally(counts.types.at("_"), 10, 13, 11);
  check_scores(micro_scores(counts), 0.75, 0.8478260869565217, 0.7959183673469389);
  check_scores(macro_scores(counts), 0.7464464882943144, 0.8506493506493507, 0.794949494949495);
}

TEST_CASE("a hit has the type and both ends of the true span") {
  const std::string_view truth = "01220";
  for (const std::string_view prediction : {"03440", "01200", "00120", "01222", "00000"})
    CHECK(micro_scores(counts_of({{truth, prediction}}, bio)).f1 == 0);
  check_scores(micro_scores(counts_of({{truth, truth}}, bio)), 1, 1, 1);
}

TEST_CASE("spans end with their sentence") {
  check_tally(counts_of({{"01", "01"}, {"20", "20"}}, bio).total(), 2, 2, 2);
}

TEST_CASE("a type that only one side has counts in the mean over types") {
  const span_counts counts = counts_of({{"1030", "1005"}}, bio);
  check_scores(scores_of(counts, "LOC"), 0, 0, 0);
  check_scores(scores_of(counts, "MISC"), 0, 0, 0);
  check_scores(scores_of(counts, "nobody's"), 0, 0, 0);
  check_scores(micro_scores(counts), 0.5, 0.5, 0.5);
  check_scores(macro_scores(counts), 1.0 / 3, 1.0 / 3, 1.0 / 3);
}

TEST_CASE("positions without a true label are left out of both sides") {
  span_counts counts;
  counts.add(std::vector<std::int32_t>{-100, 1, -100, 2, 0, -100},
             std::vector<std::int32_t>{1, 1, 0, 2, 0, 99}, bio);
  check_tally(counts.total(), 1, 1, 1);
  span_counts other;  // the same with -1
  other.add(std::vector<std::int32_t>{-1, 1, -1, 2}, std::vector<std::int32_t>{1, 1, 0, 2}, bio,
            -1);
  check_tally(other.total(), 1, 1, 1);
}

TEST_CASE("no sentences and sentences without spans have scores of 0") {
  check_scores(micro_scores(span_counts{}), 0, 0, 0);
  check_scores(macro_scores(span_counts{}), 0, 0, 0);
  const span_counts counts = counts_of({{"", ""}, {"000", "000"}}, bio);
  CHECK(counts.types.empty());
  check_scores(micro_scores(counts), 0, 0, 0);
  check_scores(macro_scores(counts), 0, 0, 0);
}

TEST_CASE("truth and prediction of a sentence have equal lengths") {
  span_counts counts;
  CHECK_THROWS_AS(counts.add(hex_labels("000"), hex_labels("00"), bio), shape_error);
  CHECK_THROWS_WITH(counts.add(hex_labels("000"), hex_labels("00"), bio),
                    "graft: span_counts: predicted labels: expected 3, found 2");
}
