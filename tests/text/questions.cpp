// SPDX-License-Identifier: MIT
#include "support/catch.hpp"
#include "support/read_failure.hpp"
#include "support/scratch_folder.hpp"

#include <graft/text/questions.hpp>

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using graft::question;
using graft_test::scratch_folder;

const std::string good_questions = R"({"version": "v2.0", "data": [
  {"title": "t", "paragraphs": [
    {"context": "Zoë wrote 😀 in Köln.", "qas": [
      {"id": "q1", "question": "Where?", "is_impossible": false, "answers": [
        {"text": "Köln", "answer_start": 15}, {"text": "in Köln", "answer_start": 12}]},
      {"id": "q2", "question": "When?", "is_impossible": true, "answers": [],
       "plausible_answers": [{"text": "Zoë", "answer_start": 0}]}]},
    {"context": "b", "qas": [
      {"id": "q3", "question": "What?", "answers": [{"text": "b", "answer_start": 0}]},
      {"id": "q4", "question": "Who?"}]}]},
  {"paragraphs": []}]})";

std::vector<question> questions_in(std::string_view bytes) {
  return graft::read_questions(scratch_folder().write("squad.json", bytes));
}

std::string questions_failure(std::string_view bytes) {
  return graft_test::read_failure(bytes,
                                  [](const std::string& path) { graft::read_questions(path); });
}

std::string questions_failure(const std::string& from, const std::string& to) {
  std::string text = good_questions;
  const auto at = text.find(from);
  REQUIRE(at != std::string::npos);
  return questions_failure(text.replace(at, from.size(), to));
}

}  // namespace

TEST_CASE("questions are read with the bytes of their first answer") {
  const std::string context = "Zoë wrote 😀 in Köln.";
  const std::vector<question> expected = {{"q1", "Where?", context, {"Köln", "in Köln"}, 19, 24},
                                          {"q2", "When?", context, {}, -1, -1},
                                          {"q3", "What?", "b", {"b"}, 0, 1},
                                          {"q4", "Who?", "b", {}, -1, -1}};
  CHECK((questions_in(good_questions) == expected));
  CHECK(context.substr(19, 24 - 19) == "Köln");
}

TEST_CASE("an answer that does not stand where it says is reported with its question") {
  const std::string place = ": data.0.paragraphs.0.qas.0.answers.0.answer_start: expected ";
  const std::string what =
      R"(the character of its context at which the answer "Köln" to question "q1" begins, found )";
  CHECK(questions_failure("15}", "16}") == place + what + "16");
  CHECK(questions_failure("15}", "20}") == place + what + "20");
  CHECK(questions_failure("15}", "99999}") == place + what + "99999");
  CHECK_THAT(questions_failure("12}", "11}"),
             Catch::Contains("answers.1.answer_start") &&
                 Catch::Contains("\"in Köln\" to question \"q1\""));
  CHECK_THAT(questions_failure(R"({"text": "Köln")", R"({"text": "")"),
             Catch::Contains("answers.0.text: expected an answer of question \"q1\""));
}

TEST_CASE("what is no file of questions is reported with its place") {
  CHECK(questions_failure("{}") == ": data: expected a value, found none");
  CHECK(questions_failure(R"({"data": []})") == ": expected questions, found none");
  CHECK_THAT(questions_failure("[]"), Catch::Contains("expected an object"));
  CHECK_THAT(questions_failure("{\"data\""), Catch::Contains(": byte 8: expected JSON"));
  CHECK(questions_failure("15}", "-1}") ==
        ": data.0.paragraphs.0.qas.0.answers.0.answer_start: expected a number from 0 to "
        "2147483647, found -1");
  CHECK(questions_failure("\"q3\"", "3") ==
        ": data.0.paragraphs.1.qas.0.id: expected a string, found 3");
  CHECK_THAT(questions_failure("true", "1"),
             Catch::Contains("is_impossible: expected true or false"));
  CHECK_THAT(questions_failure("\"qas\"", "\"qsa\""),
             Catch::Contains("paragraphs.0.qas: expected a value"));
  CHECK_THROWS_WITH(graft::read_questions("/no/such/file"),
                    Catch::Contains("/no/such/file: expected a readable file"));
}

TEST_CASE("no damage to a file of questions does more than throw an input_error") {
  std::mt19937 random(3);
  const scratch_folder folder;
  int refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::string bad = good_questions;
    for (unsigned i = 0; i < 1 + random() % 3; ++i)
      bad[random() % bad.size()] = static_cast<char>(random() % 256);
    try {
      graft::read_questions(folder.write("squad.json", bad));
    } catch (const graft::input_error&) {
      ++refused;
    }
  }
  CHECK(refused > 250);
}
