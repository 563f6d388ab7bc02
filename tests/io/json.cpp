// SPDX-License-Identifier: MIT
#include <graft/io/json.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

using graft::get;
using graft::parse_json;

namespace {

std::string parse_error(const std::string& text) {
  try {
    parse_json(text, "c.json");
  } catch (const graft::checkpoint_error& e) {
    return e.what();
  }
  return "no error";
}

template <class T>
std::string get_error(const std::string& text) {
  try {
    get<T>(parse_json(text, "c.json"), "k", "c.json");
  } catch (const graft::checkpoint_error& e) {
    return e.what();
  }
  return "no error";
}

std::string nested(int levels) {
  const auto n = static_cast<std::size_t>(levels);
  return std::string(n, '[') + std::string(n, ']');
}

bool begins_with(const std::string& text, const std::string& start) {
  return text.compare(0, start.size(), start) == 0;
}

}  // namespace

TEST_CASE("a valid text is parsed") {
  const auto value =
      parse_json(" {\"a\": [1, -2.5, \"\\u00e4\", true, null], \"b\": {}}\n", "c.json");
  CHECK(value["a"].size() == 5);
  CHECK(value["a"][2] == "\xc3\xa4");
  CHECK(value["b"].is_object());
}

TEST_CASE("a key that occurs twice is refused with its place") {
  CHECK(parse_error("{\"a\": 1,\n  \"a\": 2}") ==
        "graft: c.json, line 2, column 5: the key \"a\" occurs twice in one object");
  CHECK(parse_error("[{\"x\": {\"a\": 1, \"\\u0061\": 2}}]").find("occurs twice") !=
        std::string::npos);
  CHECK(parse_error("{\"a\": {\"a\": 1}, \"b\": {\"a\": 1}}") == "no error");
  CHECK(parse_error("[{\"a\": 1}, {\"a\": 1}]") == "no error");
}

TEST_CASE("nesting is allowed up to the limit and no further") {
  CHECK(parse_error(nested(graft::json_depth_limit)) == "no error");
  CHECK(parse_error(nested(graft::json_depth_limit + 1)) ==
        "graft: c.json, line 1, column 65: nested deeper than 64 levels");
  CHECK(parse_error(std::string(1'000'000, '[')).find("nested deeper") != std::string::npos);
  std::string objects;
  for (int i = 0; i < 70; ++i)
    objects += "{\"a\":";
  CHECK(parse_error(objects).find("nested deeper") != std::string::npos);
}

TEST_CASE("a text that is not one JSON value is refused with file and place") {
  const std::string texts[] = {"",
                               " ",
                               "{",
                               "{\"a\"}",
                               "{\"a\": }",
                               "{\"a\": 1,}",
                               "[1, 2",
                               "[1 2]",
                               "{a: 1}",
                               "{'a': 1}",
                               "{} {}",
                               "{}x",
                               "// note\n{}",
                               "{\"a\": NaN}",
                               "{\"a\": Infinity}",
                               "{\"a\": 01}",
                               "{\"a\": +1}",
                               "{\"a\": 1e999}",
                               "{\"a\": \"open}",
                               "{\"a\": \"\\x\"}",
                               "{\"a\": \"\\ud800\"}",
                               "{\"a\": \"line\nbreak\"}",
                               "{\"a\": \"\xff\"}",
                               "{\"a\": \"\xc0\xaf\"}",
                               "tru",
                               std::string("{}\0", 3),
                               std::string("{}\0{", 4),
                               std::string("{\"a\0\": 1}", 9)};
  for (const auto& text : texts) {
    CAPTURE(text);
    CHECK(begins_with(parse_error(text), "graft: c.json, line "));
  }
}

TEST_CASE("an error says line, column and reason") {
  CHECK(begins_with(parse_error("{\n  \"a\": 1\n  \"b\": 2\n}"),
                    "graft: c.json, line 3, column 5: syntax error while parsing object"));
  CHECK(
      begins_with(parse_error("[1, 1e999]"), "graft: c.json, line 1, column 10: number overflow"));
  CHECK(parse_error("{\"a\": \"" + std::string(100'000, 'x')).size() < 400);
}

TEST_CASE("values are read as what they are") {
  const auto object = parse_json(
      R"({"b": true, "i": -7, "d": 2.5, "s": "text", "l": [1, 2], "t": {"x": 1}, "n": null})", "c");
  CHECK(get<bool>(object, "b", "c"));
  CHECK(get<int>(object, "i", "c") == -7);
  CHECK(get<double>(object, "d", "c") == 2.5);
  CHECK(get<float>(object, "i", "c") == -7.0f);
  CHECK(get<std::string>(object, "s", "c") == "text");
  CHECK(get<std::vector<int>>(object, "l", "c") == std::vector<int>{1, 2});
  CHECK(get<std::map<std::string, int>>(object, "t", "c") == std::map<std::string, int>{{"x", 1}});
  CHECK(get<nlohmann::json>(object, "n", "c").is_null());
}

TEST_CASE("an absent or null value is the fallback, a wrong one is an error") {
  const auto object = parse_json(R"({"n": null, "i": 3, "s": "x"})", "c");
  CHECK(get<int>(object, "absent", "c", 5) == 5);
  CHECK(get<int>(object, "n", "c", 5) == 5);
  CHECK(get<int>(object, "i", "c", 5) == 3);
  CHECK(get<std::string>(object, "absent", "c", "gelu") == "gelu");
  CHECK_THROWS_AS(get<int>(object, "s", "c", 5), graft::checkpoint_error);
  CHECK(get<std::optional<int>>(object, "absent", "c") == std::nullopt);
  CHECK(get<std::optional<int>>(object, "n", "c") == std::nullopt);
  CHECK(get<std::optional<int>>(object, "i", "c") == 3);
}

TEST_CASE("a wrong value is an error with file, key, expectation and finding") {
  CHECK(get_error<int>("{}") == "graft: c.json: \"k\": expected a value, found no such key");
  CHECK(get_error<int>("[]") == "graft: c.json: expected an object, found a list of 0");
  CHECK(get_error<bool>(R"({"k": 1})") == "graft: c.json: \"k\": expected true or false, found 1");
  CHECK(get_error<double>(R"({"k": true})") ==
        "graft: c.json: \"k\": expected a number, found true");
  CHECK(get_error<double>(R"({"k": "1"})") ==
        "graft: c.json: \"k\": expected a number, found the string \"1\"");
  CHECK(get_error<float>(R"({"k": 1e39})") ==
        "graft: c.json: \"k\": expected a number, found 1e+39");
  CHECK(get_error<std::string>(R"({"k": {}})") ==
        "graft: c.json: \"k\": expected a string, found an object");
  CHECK(get_error<std::vector<int>>(R"({"k": 1})") ==
        "graft: c.json: \"k\": expected a list, found 1");
  CHECK(get_error<std::vector<std::string>>(R"({"k": ["a", 2]})") ==
        "graft: c.json: \"k\"[1]: expected a string, found 2");
  CHECK(get_error<std::map<std::string, std::string>>(R"({"k": {"a": null}})") ==
        "graft: c.json: \"k\".\"a\": expected a string, found null");
  CHECK(get_error<std::map<std::string, int>>(R"({"k": []})") ==
        "graft: c.json: \"k\": expected an object, found a list of 0");
}

TEST_CASE("integers out of range or with a fraction are refused") {
  CHECK(get_error<int>(R"({"k": 2147483647})") == "no error");
  CHECK(get_error<int>(R"({"k": 2147483648})") ==
        "graft: c.json: \"k\": expected an integer from -2147483648 to 2147483647, found "
        "2147483648");
  CHECK(get_error<int>(R"({"k": -2147483648})") == "no error");
  CHECK(get_error<int>(R"({"k": -2147483649})") != "no error");
  CHECK(get_error<std::uint8_t>(R"({"k": 256})") ==
        "graft: c.json: \"k\": expected an integer from 0 to 255, found 256");
  CHECK(get_error<std::uint64_t>(R"({"k": -1})") != "no error");
  CHECK(get_error<std::uint64_t>(R"({"k": 18446744073709551615})") == "no error");
  CHECK(get_error<std::int64_t>(R"({"k": 9223372036854775808})") != "no error");
  CHECK(get_error<std::uint64_t>(R"({"k": 18446744073709551616})") != "no error");
  CHECK(get_error<int>(R"({"k": 8.0})") != "no error");
  CHECK(get_error<int>(R"({"k": 1e3})") != "no error");
  CHECK(get_error<int>(R"({"k": true})") != "no error");
}

TEST_CASE("a mutated text is parsed or refused, and nothing else") {
  const std::string valid = R"({"a": [1, -2.5e3, "x\u00e4\n", true, null, {"b": {"c": []}}],
    "hidden_size": 768, "id2label": {"0": "no", "1": "yes"}, "name": ")"
                            "\xc3\xa4\xf0\x9f\x8c\xb1"
                            R"("})";
  std::mt19937 random(1);
  int parsed = 0;
  int refused = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = valid;
    for (auto flips = random() % 3 + 1; flips != 0; --flips)
      text[random() % text.size()] = static_cast<char>(random() % 256);
    if (random() % 4 == 0)
      text.resize(random() % text.size());
    // An exact copy, so that a checked build sees a read past the end.
    const std::vector<char> exact(text.begin(), text.end());
    try {
      const auto value = parse_json({exact.data(), exact.size()}, "c.json");
      ++parsed;
      get<std::optional<nlohmann::json>>(value, "a", "c.json");
      get<int>(value, "hidden_size", "c.json");
      get<std::map<std::string, std::string>>(value, "id2label", "c.json");
    } catch (const graft::error&) {
      ++refused;
    }
  }
  CHECK(parsed > 100);
  CHECK(refused > 1000);
}
