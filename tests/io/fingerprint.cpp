// SPDX-License-Identifier: MIT
#include <graft/io/fingerprint.hpp>
#include <graft/io/json.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <ios>
#include <map>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fs = std::filesystem;
using graft::checkpoint;
using graft::fingerprint;

namespace {

using graft_test::scratch_folder;

// A folder of one tensor of bytes; many files, if several names are given, with a tensor each.
std::string fingerprint_of(const std::map<std::string, std::vector<std::uint8_t>>& tensors,
                           const std::map<std::string, std::string>& shards = {},
                           const std::map<std::string, std::string>& metadata = {}) {
  const scratch_folder folder;
  folder.write("config.json", "{}");
  const auto entry = [](const auto& tensor) {
    return graft::tensor_entry{tensor.first,
                               graft::dtype::u8,
                               {static_cast<graft::index_t>(tensor.second.size())},
                               reinterpret_cast<const std::byte*>(tensor.second.data()),
                               tensor.second.size()};
  };
  if (shards.empty()) {
    std::vector<graft::tensor_entry> entries;
    for (const auto& tensor : tensors)
      entries.push_back(entry(tensor));
    graft::write_safetensors(folder.path / "model.safetensors", entries, metadata);
  } else {
    for (const auto& tensor : tensors)
      graft::write_safetensors(folder.path / shards.at(tensor.first), {entry(tensor)}, metadata);
    folder.write("model.safetensors.index.json", nlohmann::json{{"weight_map", shards}}.dump());
  }
  return fingerprint(checkpoint::open(folder.path));
}

// A model of one tensor whose bytes the test changes in place.
struct single_model {
  scratch_folder folder;
  std::size_t size;

  explicit single_model(const std::vector<std::uint8_t>& bytes) : size(bytes.size()) {
    folder.write("config.json", "{}");
    graft::write_safetensors(folder.path / "model.safetensors",
                             {{"a",
                               graft::dtype::u8,
                               {static_cast<graft::index_t>(size)},
                               reinterpret_cast<const std::byte*>(bytes.data()),
                               size}});
  }

  void flip(std::size_t place) const {
    const fs::path path = folder.path / "model.safetensors";
    const auto at = static_cast<std::streamoff>(fs::file_size(path) - size + place);
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }

  std::string print() const { return fingerprint(checkpoint::open(folder.path)); }
};

std::vector<std::uint8_t> random_bytes(std::size_t count) {
  std::mt19937 random(4);
  std::vector<std::uint8_t> bytes(count);
  for (auto& b : bytes)
    b = static_cast<std::uint8_t>(random());
  return bytes;
}

std::uint64_t fnv1a_of(std::string_view text) {
  graft::detail::fnv1a hash;
  hash.add(std::as_bytes(std::span(text.data(), text.size())));
  return hash.value();
}

}  // namespace

TEST_CASE("the hash is FNV-1a with 64 bits") {
  // From the authors' test vectors.
  CHECK(fnv1a_of("") == 0xcbf29ce484222325u);
  CHECK(fnv1a_of("a") == 0xaf63dc4c8601ec8cu);
  CHECK(fnv1a_of("foobar") == 0x85944171f73967e8u);
}

TEST_CASE("copies agree") {
  const auto bytes = random_bytes(1 << 20);
  const std::string print = fingerprint_of({{"a", bytes}});
  CHECK(print.size() == 16);
  CHECK(print.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(print == fingerprint_of({{"a", bytes}}));
}

TEST_CASE("in a small file every changed byte makes a difference") {
  const single_model model(random_bytes(300));
  const std::string print = model.print();
  for (std::size_t i = 0; i < 300; ++i) {
    model.flip(i);
    CHECK(model.print() != print);
    model.flip(i);
  }
  CHECK(model.print() == print);
}

TEST_CASE("in a large file the first and the last byte and every sampled page count") {
  constexpr std::size_t size = 1'000'003;
  const single_model model(random_bytes(size));
  const std::string print = model.print();
  for (std::size_t page = 0; page < 64; ++page) {
    const std::size_t begin = (size - 4096) * page / 63;
    for (const std::size_t place : {begin, begin + 4095}) {
      model.flip(place);
      CHECK(model.print() != print);
      model.flip(place);
    }
  }
  model.flip(5000);  // between the first page and the second
  CHECK(model.print() == print);
}

TEST_CASE("another header or size makes a difference") {
  const std::vector<std::uint8_t> bytes(500'000);
  const std::string print = fingerprint_of({{"a", bytes}});
  CHECK(fingerprint_of({{"b", bytes}}) != print);
  CHECK(fingerprint_of({{"a", bytes}}, {}, {{"format", "pt"}}) != print);
  CHECK(fingerprint_of({{"a", std::vector<std::uint8_t>(500'001)}}) != print);
}

TEST_CASE("the names of the files make no difference, which tensors they hold does") {
  const auto bytes = random_bytes(1000);
  const std::vector<std::uint8_t> zeros(1000);
  const std::map<std::string, std::vector<std::uint8_t>> tensors{{"a", bytes}, {"b", zeros}};
  const std::string print = fingerprint_of(tensors, {{"a", "1"}, {"b", "2"}});
  CHECK(fingerprint_of(tensors, {{"a", "2"}, {"b", "1"}}) == print);
  CHECK(fingerprint_of({{"a", zeros}, {"b", bytes}}, {{"a", "1"}, {"b", "2"}}) != print);
  CHECK(fingerprint_of(tensors) != print);
}
