// SPDX-License-Identifier: MIT
#include <graft/io/safetensors.hpp>

#include "support/catch.hpp"
#include "support/message_of.hpp"
#include "support/scratch_folder.hpp"

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <limits>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using graft::dtype;
using graft::safetensors_file;
using graft::tensor_entry;

namespace {

using graft_test::message_of;
using graft_test::scratch_folder;

std::string length_prefix(std::uint64_t length) {
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text;
}

// A file with this header and so many bytes of data, which count 0, 1, 2, ...
std::string file_with(const std::string& header, std::size_t data_bytes) {
  std::string file = length_prefix(header.size()) + header;
  for (std::size_t i = 0; i < data_bytes; ++i)
    file.push_back(static_cast<char>(i));
  return file;
}

// Parses an exact copy, so that a checked build sees every read past its end.
safetensors_file parse(const std::string& file) {
  const auto copy = std::make_shared<std::vector<std::byte>>(file.size());
  if (!file.empty())
    std::memcpy(copy->data(), file.data(), file.size());
  return safetensors_file::parse(*copy, copy, "f");
}

std::string tensor(const std::string& type, const std::string& shape, const std::string& offsets) {
  return "{\"dtype\":\"" + type + "\",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

template <class T>
tensor_entry entry_over(const std::string& name, dtype type, std::vector<graft::index_t> shape,
                        const std::vector<T>& values) {
  return {name, type, std::move(shape), reinterpret_cast<const std::byte*>(values.data()),
          values.size() * sizeof(T)};
}

}  // namespace

TEST_CASE("a tensor is found with its type, shape and bytes") {
  const auto file = parse(
      file_with("{\"__metadata__\":{\"format\":\"pt\"},\"b\":" + tensor("F32", "[2,1]", "[4,12]") +
                    ",\"a\":" + tensor("I32", "[1]", "[0,4]") + "}",
                12));
  REQUIRE(file.entries().size() == 2);
  CHECK(file.entries()[0].name == "a");
  CHECK(file.metadata().at("format") == "pt");
  const tensor_entry* b = file.find("b");
  REQUIRE(b != nullptr);
  CHECK(b->type == dtype::f32);
  CHECK(b->shape == std::vector<graft::index_t>{2, 1});
  CHECK(b->bytes == 8);
  CHECK(element_count(*b) == 2);
  CHECK(std::to_integer<int>(b->data[0]) == 4);
  CHECK(file.find("c") == nullptr);
  CHECK(file.find("") == nullptr);
  CHECK(file.data().size() == 12);
}

TEST_CASE("unusual files that the format allows are read") {
  const auto accepts = [](const std::string& header, std::size_t data_bytes) {
    CAPTURE(header);
    CHECK(message_of<graft::checkpoint_error>([&] { parse(file_with(header, data_bytes)); }) ==
          "no exception");
  };
  accepts("{}", 0);
  accepts("{\"__metadata__\":{}}", 0);
  accepts(" \t\r\n{\"a\":" + tensor("U8", "[3]", "[0,3]") + "}", 3);
  accepts("{\"a\":" + tensor("U8", "[3]", "[0,3]") + "}       ", 3);
  accepts("{\"a\":" + tensor("F64", "[]", "[0,8]") + "}", 8);
  accepts("{\"a\":" + tensor("F32", "[0]", "[0,0]") + "}", 0);
  accepts("{\"a\":" + tensor("F32", "[7,0,9]", "[0,0]") + "}", 0);
  accepts("{\"a\":" + tensor("F32", "[0,1000000000]", "[0,0]") + "}", 0);
  accepts("{\"\":" + tensor("U8", "[1]", "[0,1]") + "}", 1);
  accepts("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"note\":\"x\"}}", 1);
  // Empty tensors at both ends and between two others, and names out of order.
  accepts("{\"z\":" + tensor("U8", "[1]", "[0,1]") + ",\"e\":" + tensor("U8", "[0]", "[1,1]") +
              ",\"y\":" + tensor("U8", "[1]", "[1,2]") + ",\"a\":" + tensor("U8", "[0]", "[0,0]") +
              ",\"f\":" + tensor("U8", "[0]", "[2,2]") + "}",
          2);
  for (const auto& facts : graft::dtype_table)
    accepts(
        "{\"a\":" +
            tensor(std::string(facts.name), "[3]", "[0," + std::to_string(3 * facts.bytes) + "]") +
            "}",
        3 * facts.bytes);
}

TEST_CASE("a scalar has no extents and one element") {
  const auto file = parse(file_with("{\"a\":" + tensor("F16", "[]", "[0,2]") + "}", 2));
  CHECK(file.find("a")->shape.empty());
  CHECK(element_count(*file.find("a")) == 1);
}

TEST_CASE("every breach of the format is an error that says which") {
  struct breach {
    std::string header;
    std::size_t data_bytes;
    std::string expected;  // a part of the message
  };
  const std::string u8 = "\"dtype\":\"U8\"";
  const std::string one = "\"shape\":[1]";
  const std::string at = "\"data_offsets\":[0,1]";
  const auto two = [](const std::string& first, const std::string& second) {
    return "{\"a\":" + first + ",\"b\":" + second + "}";
  };
  const auto a = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return "{\"a\":" + tensor(type, shape, offsets) + "}";
  };
  const std::vector<breach> breaches{
      // The header's text.
      {"", 0, "expected a header that begins with '{'"},
      {"    ", 0, "expected a header that begins with '{'"},
      {"[]", 0, "expected a header that begins with '{'"},
      {"null", 0, "expected a header that begins with '{'"},
      {"\xef\xbb\xbf{}", 0, "expected a header that begins with '{'"},
      {"{", 0, "f: header, line 1, column 1"},
      {"{}x", 0, "f: header, line 1, column 3"},
      {"{} {}", 0, "f: header, line 1, column 4"},
      {std::string("{}\0\0", 4), 0, "found a zero byte"},
      {"{\"\xff\":" + tensor("U8", "[1]", "[0,1]") + "}", 1, "ill-formed UTF-8"},
      {"{\"a\":" + tensor("U8", "[1]", "[0,1]") + ",\"a\":" + tensor("U8", "[1]", "[0,1]") + "}", 1,
       "\"a\" occurs twice"},
      {"{\"a\":{" + u8 + "," + u8 + "," + one + "," + at + "}}", 1, "\"dtype\" occurs twice"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "\"__metadata__\" occurs twice"},
      // Metadata.
      {"{\"__metadata__\":{\"a\":1}}", 0, "f: \"__metadata__\".\"a\": expected a string, found 1"},
      {"{\"__metadata__\":{\"a\":null}}", 0, "expected a string, found null"},
      {"{\"__metadata__\":{\"a\":{}}}", 0, "expected a string, found an object"},
      {"{\"__metadata__\":[]}", 0, "expected an object, found a list of 0"},
      {"{\"__metadata__\":null}", 0, "expected an object, found null"},
      {"{\"__metadata__\":" + tensor("U8", "[1]", "[0,1]") + "}", 1, "expected a string, found"},
      // A tensor's fields.
      {"{\"a\":1}", 1, "f: tensor \"a\": expected an object, found 1"},
      {"{\"a\":null}", 1, "expected an object, found null"},
      {"{\"a\":{" + one + "," + at + "}}", 1, "\"dtype\": expected a value, found no such key"},
      {"{\"a\":{" + u8 + "," + at + "}}", 1, "\"shape\": expected a value, found no such key"},
      {"{\"a\":{" + u8 + "," + one + "}}", 1,
       "\"data_offsets\": expected a value, found no such key"},
      {"{\"a\":{\"dtype\":8," + one + "," + at + "}}", 1, "\"dtype\": expected a string, found 8"},
      {a("F8_E4M3", "[1]", "[0,1]"), 1, "found \"F8_E4M3\""},
      {a("F4", "[2]", "[0,1]"), 1, "found \"F4\""},
      {a("C64", "[1]", "[0,8]"), 8, "found \"C64\""},
      {a("float32", "[1]", "[0,4]"), 4, "found \"float32\""},
      {a("f32", "[1]", "[0,4]"), 4, "found \"f32\""},
      {a("", "[1]", "[0,4]"), 4, "found \"\""},
      // Shapes.
      {a("U8", "1", "[0,1]"), 1, "\"shape\": expected a list, found 1"},
      {a("U8", "[\"1\"]", "[0,1]"), 1, "\"shape\"[0]: expected an integer"},
      {a("U8", "[1.0]", "[0,1]"), 1, "\"shape\"[0]: expected an integer"},
      {a("U8", "[-1]", "[0,1]"), 1, "expected a shape of sizes that fit in memory, found [-1]"},
      {a("U8", "[-1,-1]", "[0,1]"), 1, "expected a shape of sizes that fit in memory"},
      {a("U8", "[9223372036854775808]", "[0,1]"), 1, "\"shape\"[0]: expected an integer"},
      {a("U8", "[4294967296,4294967296]", "[0,0]"), 0, "expected a shape of sizes that fit"},
      {a("F64", "[2305843009213693952]", "[0,0]"), 0, "expected a shape of sizes that fit"},
      {a("F32", "[4294967296,4294967297,0]", "[0,0]"), 0, "expected a shape of sizes that fit"},
      {a("F32", "[2]", "[0,4]"), 4, "expected 8 bytes for F32 [2], found 4"},
      {a("F32", "[1]", "[0,8]"), 8, "expected 4 bytes for F32 [1], found 8"},
      {a("F32", "[]", "[0,0]"), 0, "expected 4 bytes for F32 [], found 0"},
      {a("F16", "[1]", "[0,3]"), 3, "expected 2 bytes for F16 [1], found 3"},
      {a("U8", "[0]", "[0,1]"), 1, "expected 0 bytes for U8 [0], found 1"},
      // Offsets.
      {a("U8", "[1]", "[0]"), 1, "expected data_offsets [begin, end] within 1 bytes of data"},
      {a("U8", "[1]", "[0,1,1]"), 1, "expected data_offsets [begin, end]"},
      {a("U8", "[1]", "1"), 1, "\"data_offsets\": expected a list, found 1"},
      {a("U8", "[1]", "[-1,0]"), 1, "\"data_offsets\"[0]: expected an integer"},
      {a("U8", "[1]", "[0.0,1.0]"), 1, "\"data_offsets\"[0]: expected an integer"},
      {a("U8", "[1]", "[1,0]"), 1, "found [1,0]"},
      {a("U8", "[1]", "[0,2]"), 1, "found [0,2]"},
      {a("U8", "[2]", "[0,2]"), 1, "found [0,2]"},
      {a("U8", "[1]", "[18446744073709551615,0]"), 1, "expected data_offsets [begin, end]"},
      {a("U8", "[1]", "[0,18446744073709551616]"), 1, "\"data_offsets\"[1]: expected an integer"},
      // Coverage.
      {"{}", 1, "f: expected 0 bytes of data after the header, found 1"},
      {a("U8", "[1]", "[0,1]"), 2, "expected 1 bytes of data after the header, found 2"},
      {a("U8", "[1]", "[1,2]"), 2, "\"a\": expected its data to begin at byte 0"},
      {a("U8", "[0]", "[1,1]"), 1, "\"a\": expected its data to begin at byte 0"},
      {two(tensor("U8", "[1]", "[0,1]"), tensor("U8", "[1]", "[2,3]")), 3,
       "\"b\": expected its data to begin at byte 1, where the tensor before it ends, found 2"},
      {two(tensor("U8", "[2]", "[0,2]"), tensor("U8", "[2]", "[1,3]")), 3,
       "\"b\": expected its data to begin at byte 2, where the tensor before it ends, found 1"},
      {two(tensor("U8", "[2]", "[0,2]"), tensor("U8", "[2]", "[0,2]")), 2,
       "expected its data to begin at byte 2"},
      {two(tensor("U8", "[3]", "[0,3]"), tensor("U8", "[1]", "[1,2]")), 3,
       "\"b\": expected its data to begin at byte 3"},
      {two(tensor("U8", "[2]", "[0,2]"), tensor("U8", "[0]", "[1,1]")), 2,
       "\"b\": expected its data to begin at byte 2"},
  };
  for (const auto& b : breaches) {
    const std::string message =
        message_of<graft::checkpoint_error>([&] { parse(file_with(b.header, b.data_bytes)); });
    CAPTURE(b.header, message, b.expected);
    CHECK_THAT(message, Catch::Matchers::StartsWith("graft: f"));
    CHECK(message.find(b.expected) != std::string::npos);
  }
}

TEST_CASE("a header length that the file cannot hold is refused") {
  const auto refuses = [](const std::string& file, const std::string& expected) {
    const std::string message = message_of<graft::checkpoint_error>([&] { parse(file); });
    CAPTURE(message, expected);
    CHECK(message.find(expected) != std::string::npos);
  };
  refuses("", "expected at least 8 bytes of safetensors, found 0");
  refuses(std::string(7, '\0'), "expected at least 8 bytes of safetensors, found 7");
  refuses(std::string(8, '\0'), "expected a header that begins with '{'");
  refuses(length_prefix(3) + "{}", "at most 2 bytes, found the length 3");
  refuses(length_prefix(std::uint64_t{1} << 63) + "{}", "found the length 9223372036854775808");
  refuses(length_prefix(~std::uint64_t{0}) + "{}", "found the length 18446744073709551615");
  refuses(length_prefix(~std::uint64_t{7}) + "{}", "found the length 18446744073709551608");
  std::string large = length_prefix(100'000'001) + "{}";
  large.resize(8 + 100'000'001, ' ');
  refuses(large, "at most 100000000 bytes, found the length 100000001");
}

TEST_CASE("every truncation of a file is refused") {
  const std::string whole = file_with(
      "{\"a\":" + tensor("F32", "[2]", "[0,8]") + ",\"b\":" + tensor("U8", "[3]", "[8,11]") + "}",
      11);
  CHECK(message_of<graft::checkpoint_error>([&] { parse(whole); }) == "no exception");
  for (std::size_t length = 0; length < whole.size(); ++length)
    CHECK(message_of<graft::checkpoint_error>([&] { parse(whole.substr(0, length)); }) !=
          "no exception");
}

TEST_CASE("a mutated file is parsed or refused, and nothing else") {
  const std::string valid =
      file_with("{\"__metadata__\":{\"format\":\"pt\"},\"a\":" + tensor("F32", "[2,2]", "[0,16]") +
                    ",\"b.weight\":" + tensor("F16", "[3]", "[16,22]") +
                    ",\"c\":" + tensor("I64", "[]", "[22,30]") +
                    ",\"d\":" + tensor("U8", "[0]", "[30,30]") + "}",
                30);
  const std::string digits = "0123456789[]{},:\"-. ";
  std::mt19937 random(2);
  int parsed = 0;
  int refused = 0;
  double sum = 0;
  for (int round = 0; round < 6000; ++round) {
    std::string file = valid;
    for (auto flips = random() % 3 + 1; flips != 0; --flips) {
      const auto kind = random() % 4;
      if (kind == 0)  // any byte anywhere
        file[random() % file.size()] = static_cast<char>(random() % 256);
      else if (kind == 1)  // a character of JSON in the header, which gets further
        file[8 + random() % (file.size() - 38)] = digits[random() % digits.size()];
      else  // a value
        file[file.size() - 1 - random() % 30] = static_cast<char>(random() % 256);
    }
    if (random() % 8 == 0)
      file.resize(random() % (file.size() + 8));
    try {
      const auto result = parse(file);
      ++parsed;
      for (const auto& entry : result.entries()) {
        for (std::size_t i = 0; i < entry.bytes; ++i)
          sum += std::to_integer<int>(entry.data[i]);
        std::vector<float> values(element_count(entry));
        graft::convert_to(entry.type, entry.data, values.size(), values.data());
      }
    } catch (const graft::error&) {
      ++refused;
    }
  }
  CHECK(sum > 0);
  CHECK(parsed > 300);
  CHECK(refused > 3000);
}

TEST_CASE("an opened file keeps its data alive through the owner") {
  const scratch_folder folder;
  const fs::path path = folder.path / "x.safetensors";
  const std::vector<float> values{1, 2, 3};
  graft::write_safetensors(path, {entry_over("a", dtype::f32, {3}, values)});
  std::shared_ptr<const void> owner;
  const std::byte* data = nullptr;
  {
    const auto file = safetensors_file::open(path);
    owner = file.owner();
    data = file.find("a")->data;
  }
  fs::remove(path);
  CHECK(std::memcmp(data, values.data(), 12) == 0);
}

TEST_CASE("opening names the path in every error") {
  const scratch_folder folder;
  const fs::path path = folder.path / "x.safetensors";
  CHECK_THROWS_WITH(safetensors_file::open(path),
                    "graft: cannot open " + path.string() + ": No such file or directory");
  graft::write_atomically(path, [](graft::output_file& file) { file.write("PK\3\4 no tensors"); });
  const std::string message =
      message_of<graft::checkpoint_error>([&] { safetensors_file::open(path); });
  CHECK_THAT(message,
             Catch::Matchers::StartsWith("graft: " + path.string() + ": expected a header"));
  CHECK_THAT(message, Catch::Matchers::EndsWith("(is this a safetensors file?)"));
}

TEST_CASE("what is written is read back, and lies as the format's own writer lays it") {
  const scratch_folder folder;
  const fs::path path = folder.path / "x.safetensors";
  const std::vector<std::uint8_t> bytes{1, 2, 3};
  const std::vector<float> floats{1.5f, -2.0f};
  const std::vector<std::int64_t> longs{-1};
  const std::vector<double> none;
  graft::write_safetensors(
      path,
      {entry_over("u", dtype::u8, {3}, bytes), entry_over("b", dtype::f32, {1, 2}, floats),
       entry_over("a", dtype::f32, {2}, floats), entry_over("empty", dtype::f64, {0, 4}, none),
       entry_over("n\"\n\xc3\xa4", dtype::i64, {}, longs)},
      {{"format", "pt"}});

  const std::string text = graft::read_text(path);
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), 8);
  CHECK(length % 8 == 0);
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"},"
      "\"n\\\"\\n\xc3\xa4\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]},"
      "\"empty\":{\"dtype\":\"F64\",\"shape\":[0,4],\"data_offsets\":[8,8]},"
      "\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]},"
      "\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[16,24]},"
      "\"u\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[24,27]}}";
  CHECK(text.substr(8, header.size()) == header);
  CHECK(text.substr(8 + header.size(), length - header.size()).find_first_not_of(' ') ==
        std::string::npos);

  const auto file = safetensors_file::open(path);
  CHECK(file.entries().size() == 5);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(file.find("b")->shape == std::vector<graft::index_t>{1, 2});
  CHECK(std::memcmp(file.find("b")->data, floats.data(), 8) == 0);
  CHECK(std::memcmp(file.find("u")->data, bytes.data(), 3) == 0);
  CHECK(std::memcmp(file.find("n\"\n\xc3\xa4")->data, longs.data(), 8) == 0);
  CHECK(file.find("empty")->bytes == 0);
  for (const auto& entry : file.entries())
    CHECK(reinterpret_cast<std::uintptr_t>(entry.data) % size_of(entry.type) == 0);

  // Written again from what was read, it is the same file.
  graft::write_safetensors(folder.path / "y", file.entries(), file.metadata());
  CHECK(graft::read_text(folder.path / "y") == text);
}

TEST_CASE("a file without tensors is written and read") {
  const scratch_folder folder;
  graft::write_safetensors(folder.path / "x", {});
  CHECK(graft::read_text(folder.path / "x") == length_prefix(8) + "{}      ");
  CHECK(safetensors_file::open(folder.path / "x").entries().empty());
}

TEST_CASE("what would make a malformed file is refused before anything is written") {
  const scratch_folder folder;
  const fs::path path = folder.path / "x.safetensors";
  const std::vector<float> values{1, 2};
  const auto refuses = [&](std::vector<tensor_entry> entries, const std::string& expected,
                           const std::map<std::string, std::string>& metadata = {}) {
    const std::string message = message_of<graft::checkpoint_error>(
        [&] { graft::write_safetensors(path, entries, metadata); });
    CAPTURE(message, expected);
    CHECK_THAT(message, Catch::Matchers::StartsWith("graft: " + path.string()));
    CHECK(message.find(expected) != std::string::npos);
    CHECK(fs::is_empty(folder.path));
  };
  const auto good = entry_over("a", dtype::f32, {2}, values);
  refuses({good, entry_over("a", dtype::f64, {1}, values)}, "\"a\": expected a name of its own");
  refuses({entry_over("__metadata__", dtype::f32, {2}, values)}, "expected a name of its own");
  refuses({entry_over("a", dtype::f32, {3}, values)}, "expected the bytes of F32 [3], found 8");
  refuses({entry_over("a", dtype::f32, {-2}, values)}, "expected the bytes of F32 [-2]");
  refuses({entry_over("a", dtype::f16, {2}, values)}, "expected the bytes of F16 [2], found 8");
  refuses({entry_over("\xff", dtype::f32, {2}, values)}, "UTF-8");
  refuses({good}, "UTF-8", {{"k", "\xff"}});
}

TEST_CASE("writing to a place that cannot be written leaves no file") {
  const scratch_folder folder;
  const std::vector<float> values{1, 2};
  CHECK_THROWS_AS(graft::write_safetensors(folder.path / "no" / "x",
                                           {entry_over("a", dtype::f32, {2}, values)}),
                  graft::error);
  CHECK(fs::is_empty(folder.path));
}

TEST_CASE("values at any address are converted") {
  const std::vector<float> values{1.5f, -2.25f, 1e-40f, std::numeric_limits<float>::infinity()};
  for (std::size_t shift = 0; shift < 8; ++shift) {
    // A header of this length puts the data at address 8 + N, which is `shift` modulo 8.
    std::string header = "{\"a\":" + tensor("F32", "[4]", "[0,16]") + "}";
    while (header.size() % 8 != shift)
      header += ' ';
    std::string text = length_prefix(header.size()) + header;
    text.append(reinterpret_cast<const char*>(values.data()), 16);
    const auto file = parse(text);
    const tensor_entry* a = file.find("a");
    REQUIRE(reinterpret_cast<std::uintptr_t>(a->data) % 8 == shift);
    std::vector<float> floats(4);
    graft::convert_to(a->type, a->data, 4, floats.data());
    CHECK(floats == values);
    std::vector<double> doubles(4);
    graft::convert_to(a->type, a->data, 4, doubles.data());
    CHECK(doubles == std::vector<double>(values.begin(), values.end()));

    std::vector<std::byte> halves(8 + shift);
    graft::convert_from(values.data(), 4, dtype::bf16, halves.data() + shift);
    graft::convert_to(dtype::bf16, halves.data() + shift, 4, floats.data());
    CHECK(floats[1] == -2.25f);
  }
}

TEST_CASE("doubles keep all their bits, and round to nearest as floats") {
  const std::vector<double> values{1.0 / 3.0, 1.0 + 0x1p-24, 1.0 + 0x1.8p-23, -5e-324, 1e300};
  const auto* data = reinterpret_cast<const std::byte*>(values.data());
  std::vector<double> doubles(5);
  graft::convert_to(dtype::f64, data, 5, doubles.data());
  CHECK(doubles == values);
  std::vector<float> floats(4);
  graft::convert_to(dtype::f64, data, 4, floats.data());
  CHECK(floats == std::vector<float>{1.0f / 3.0f, 1.0f, 1.0f + 0x1p-22f, 0.0f});
  CHECK(std::signbit(floats[3]));
}

TEST_CASE("float to float keeps every bit of a NaN") {
  const std::uint32_t bits[] = {0x7fc12345u, 0xffc00001u, 0x7f812345u};
  float values[3];
  graft::convert_to(dtype::f32, reinterpret_cast<const std::byte*>(bits), 3, values);
  std::byte back[12];
  graft::convert_from(values, 3, dtype::f32, back);
  CHECK(std::memcmp(bits, back, 12) == 0);
}

TEST_CASE("types without a conversion are refused by name") {
  const std::byte data[8] = {};
  float out = 0;
  for (const auto type : {dtype::boolean, dtype::u8, dtype::i8, dtype::i16, dtype::u16, dtype::i32,
                          dtype::u32, dtype::i64, dtype::u64})
    CHECK_THAT(message_of<graft::checkpoint_error>([&] { graft::convert_to(type, data, 1, &out); }),
               Catch::Matchers::EndsWith("found " + std::string(name_of(type))));
  std::byte target[8];
  CHECK_THAT(message_of<graft::checkpoint_error>(
                 [&] { graft::convert_from(&out, 1, dtype::f64, target); }),
             Catch::Matchers::EndsWith("found F64"));
}

TEST_CASE("every F16 value becomes the float that its definition says") {
  std::size_t right = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const int exponent = (half >> 10) & 0x1f;
    const int mantissa = half & 0x3ff;
    const float found = graft::from_f16(half);
    double expected = 0;
    if (exponent == 31)
      expected = mantissa == 0 ? HUGE_VAL : NAN;
    else if (exponent == 0)
      expected = std::ldexp(mantissa, -24);
    else
      expected = std::ldexp(1024 + mantissa, exponent - 25);
    const bool negative = (half & 0x8000) != 0;
    const bool same = std::isnan(expected)
                          ? std::isnan(found)
                          : static_cast<double>(found) == (negative ? -expected : expected);
    if (!same || std::signbit(found) != negative)
      FAIL("F16 " << half << " became " << found);
    // And back; a signalling NaN comes back quiet.
    const std::uint16_t quiet = std::isnan(expected) ? 0x200 : 0;
    if (graft::to_f16(found) != (half | quiet))
      FAIL("F16 " << half << " came back as " << graft::to_f16(found));
    ++right;
  }
  CHECK(right == 65536);
}

TEST_CASE("every BF16 value becomes the float with these upper bits, and comes back") {
  std::size_t right = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto upper = static_cast<std::uint16_t>(bits);
    const float found = graft::from_bf16(upper);
    if (std::bit_cast<std::uint32_t>(found) != bits << 16)
      FAIL("BF16 " << upper << " became " << found);
    const std::uint16_t quiet = std::isnan(found) ? 0x40 : 0;
    if (graft::to_bf16(found) != (upper | quiet))
      FAIL("BF16 " << upper << " came back as " << graft::to_bf16(found));
    ++right;
  }
  CHECK(right == 65536);
}

TEST_CASE("arrays of 16-bit values convert like single ones") {
  std::vector<std::uint16_t> halves(65536);
  for (std::size_t i = 0; i < halves.size(); ++i)
    halves[i] = static_cast<std::uint16_t>(i);
  const auto* data = reinterpret_cast<const std::byte*>(halves.data());
  std::vector<float> floats(halves.size());
  std::vector<double> doubles(halves.size());
  std::vector<std::uint16_t> back(halves.size());
  for (const auto type : {dtype::f16, dtype::bf16}) {
    graft::convert_to(type, data, halves.size(), floats.data());
    graft::convert_to(type, data, halves.size(), doubles.data());
    graft::convert_from(floats.data(), floats.size(), type,
                        reinterpret_cast<std::byte*>(back.data()));
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < halves.size(); ++i) {
      const float one =
          type == dtype::f16 ? graft::from_f16(halves[i]) : graft::from_bf16(halves[i]);
      const bool nan = std::isnan(one);
      wrong += std::bit_cast<std::uint32_t>(floats[i]) == std::bit_cast<std::uint32_t>(one) ? 0 : 1;
      wrong += nan ? !std::isnan(doubles[i]) : doubles[i] != static_cast<double>(one);
      wrong += nan ? 0 : back[i] != halves[i];
    }
    CHECK(wrong == 0);
  }
}

TEST_CASE("a float between two neighbours goes to the nearer, a tie to the even one") {
  // The decision points of both formats: each midpoint, and the floats beside it.
  const auto check = [](auto widen, auto narrow, std::uint16_t infinity) {
    std::size_t pairs = 0;
    for (std::uint32_t bits = 0; bits + 1 < infinity; ++bits) {
      const auto low = static_cast<std::uint16_t>(bits);
      const auto high = static_cast<std::uint16_t>(bits + 1);
      const auto middle = static_cast<float>(
          (static_cast<double>(widen(low)) + static_cast<double>(widen(high))) / 2);
      const std::uint16_t even = low % 2 == 0 ? low : high;
      const bool right = narrow(middle) == even && narrow(std::nextafter(middle, 0.0f)) == low &&
                         narrow(std::nextafter(middle, HUGE_VALF)) == high &&
                         narrow(-middle) == (even | 0x8000);
      if (!right)
        FAIL("between " << low << " and " << high);
      ++pairs;
    }
    CHECK(pairs == infinity - 1u);
  };
  check(graft::from_f16, graft::to_f16, 0x7c00);
  check(graft::from_bf16, graft::to_bf16, 0x7f80);
}

TEST_CASE("floats beyond the largest 16-bit value become infinity from half a step on") {
  CHECK(graft::to_f16(65504.0f) == 0x7bff);
  CHECK(graft::to_f16(std::nextafter(65520.0f, 0.0f)) == 0x7bff);
  CHECK(graft::to_f16(65520.0f) == 0x7c00);
  CHECK(graft::to_f16(-65536.0f) == 0xfc00);
  CHECK(graft::to_f16(std::numeric_limits<float>::max()) == 0x7c00);
  CHECK(graft::to_f16(std::numeric_limits<float>::infinity()) == 0x7c00);
  CHECK(graft::to_f16(0x1p-25f) == 0);
  CHECK(graft::to_f16(std::nextafter(0x1p-25f, 1.0f)) == 1);
  CHECK(graft::to_f16(-std::numeric_limits<float>::denorm_min()) == 0x8000);
  CHECK(graft::to_bf16(std::numeric_limits<float>::max()) == 0x7f80);
  CHECK(graft::to_bf16(std::bit_cast<float>(0x7f7f7fffu)) == 0x7f7f);
  CHECK(graft::to_bf16(std::bit_cast<float>(0x7f800001u)) == 0x7fc0);
  CHECK(graft::to_f16(std::bit_cast<float>(0x7f800001u)) == 0x7e00);
  CHECK(graft::to_bf16(std::bit_cast<float>(0xffffffffu)) == 0xffff);
}
