// SPDX-License-Identifier: MIT
#include <graft/io/torch_file.hpp>
#include <graft/io/torch_pickle.hpp>
#include <graft/io/zip_file.hpp>

#include "support/catch.hpp"

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using graft::dtype;
using graft::index_t;
using graft::torch_file;

std::string path_of(const std::string& name) {
  return std::string(GRAFT_TEST_DATA) + "/torch_files/" + name + ".bin";
}

// The bytes of a file in memory of just their size, so that a checked build sees every read past
// them.
std::shared_ptr<std::vector<std::byte>> bytes_of(const std::string& name) {
  const std::string text = graft::read_text(path_of(name));
  const auto bytes = std::make_shared<std::vector<std::byte>>(text.size());
  std::memcpy(bytes->data(), text.data(), text.size());
  return bytes;
}

std::string refusal(const std::vector<std::byte>& bytes) {
  try {
    torch_file::parse(bytes, nullptr, "f");
  } catch (const graft::checkpoint_error& e) {
    return e.what();
  }
  return "no error";
}
std::string refusal(const std::string& name) { return refusal(*bytes_of(name)); }

std::vector<double> values(const torch_file& file, const std::string& name) {
  const auto* tensor = file.find(name);
  REQUIRE(tensor);
  std::vector<double> v(graft::element_count(*tensor));
  graft::convert_to(tensor->type, tensor->data, v.size(), v.data());
  return v;
}
template <class T>
std::vector<int> integers(const torch_file& file, const std::string& name) {
  const auto* tensor = file.find(name);
  REQUIRE(tensor);
  REQUIRE(tensor->bytes % sizeof(T) == 0);
  std::vector<T> v(tensor->bytes / sizeof(T));
  std::memcpy(v.data(), tensor->data, tensor->bytes);
  return {v.begin(), v.end()};
}

using shape = std::vector<index_t>;
const std::vector<double> six{0, 1, 2, 3, 4, 5};
const std::vector<int> six_integers{0, 1, 2, 3, 4, 5};

}  // namespace

TEST_CASE("tensors of a PyTorch checkpoint have their types, shapes and values") {
  const auto file = torch_file::open(path_of("dtypes"));
  CHECK(file.entries().size() == 12);
  for (const auto& [name, type] :
       {std::pair{"float64", dtype::f64}, std::pair{"float32", dtype::f32},
        std::pair{"float16", dtype::f16}, std::pair{"bfloat16", dtype::bf16}}) {
    CHECK(file.find(name)->type == type);
    CHECK(file.find(name)->shape == shape{2, 3});
    CHECK(values(file, name) == six);
  }
  CHECK(integers<std::int64_t>(file, "int64") == six_integers);
  CHECK(integers<std::int32_t>(file, "int32") == six_integers);
  CHECK(integers<std::int16_t>(file, "int16") == six_integers);
  CHECK(integers<std::int8_t>(file, "int8") == six_integers);
  CHECK(integers<std::uint8_t>(file, "uint8") == six_integers);
  CHECK(file.find("int16")->type == dtype::i16);
  CHECK(integers<std::uint8_t>(file, "bool") == std::vector<int>{1, 0});
  CHECK(file.find("bool")->type == dtype::boolean);
  CHECK(file.find("scalar")->shape.empty());
  CHECK(values(file, "scalar") == std::vector<double>{2.5});
  CHECK(file.find("empty")->shape == shape{0, 3});
  CHECK(file.find("empty")->bytes == 0);
  CHECK(file.find("other") == nullptr);
}

TEST_CASE("tensors that share a storage, slices and transposes come out row after row") {
  const auto file = torch_file::open(path_of("strided"));
  const auto base = values(file, "base");
  CHECK(file.find("transposed")->shape == shape{4, 2, 3});
  const auto transposed = values(file, "transposed");
  for (std::size_t i = 0; i < 2; ++i)
    for (std::size_t j = 0; j < 3; ++j)
      for (std::size_t l = 0; l < 4; ++l)
        CHECK(transposed[(l * 2 + i) * 3 + j] == base[(i * 3 + j) * 4 + l]);
  CHECK(file.find("row")->data == file.find("base")->data + 12 * sizeof(float));
  CHECK(values(file, "columns") == std::vector<double>{1, 2, 5, 6, 9, 10});
  CHECK(values(file, "last") == std::vector<double>{23});
  CHECK(values(file, "parameter") == std::vector<double>{1, 1});
}

TEST_CASE("a module's state dict is read without its attributes") {
  const auto file = torch_file::open(path_of("state_dict"));
  REQUIRE(file.entries().size() == 2);
  CHECK(values(file, "weight") == std::vector<double>{1, 2});
  CHECK(values(file, "bias") == std::vector<double>{3});
}

TEST_CASE("the owner of a PyTorch checkpoint's tensors outlives the object") {
  std::shared_ptr<const void> owner;
  std::vector<graft::tensor_entry> entries;
  {
    const auto file = torch_file::open(path_of("strided"));
    owner = file.owner();
    entries = file.entries();
  }
  float last = 0;
  for (const auto& e : entries)
    if (e.name == "columns")
      std::memcpy(&last, e.data + 5 * sizeof(float), sizeof last);
  CHECK(last == 10);
}

TEST_CASE("whatever a pickle asks for beside tensors is refused by its name") {
  for (const auto& [name, asked] :
       {std::pair{"reduce", "\"os.system\""}, std::pair{"builtin", "\"builtins.eval\""},
        std::pair{"torch_function", "\"torch.load\""}, std::pair{"obj", "\"os.system\""},
        std::pair{"build_state", "\"os.system\""}}) {
    const std::string message = refusal(std::string("call_") + name);
    INFO(message);
    CHECK(message.starts_with("graft: f: data.pkl, byte "));
    CHECK(message.find("expected nothing but tensors, found " + std::string(asked)) !=
          std::string::npos);
  }
  for (const char* name : {"inst", "newobj", "stack_global"}) {
    const std::string message = refusal(std::string("call_") + name);
    INFO(message);
    CHECK(message.find("expected an opcode that state dicts are written with") !=
          std::string::npos);
  }
  CHECK(refusal("call_build_object").find("expected a dictionary that has them") !=
        std::string::npos);
  CHECK(refusal("call_hooks").find("expected a tensor without hooks") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists("executed"));
}

TEST_CASE("tensors that do not lie within their storage are refused") {
  for (const char* name : {"shape", "beyond", "stride", "expanded", "product"}) {
    const std::string message = refusal(std::string("size_") + name);
    INFO(name << ": " << message);
    CHECK(message.find("expected a tensor within its storage of 4 elements") != std::string::npos);
  }
  for (const auto& [name, found] :
       {std::pair{"empty", "expected sizes that fit in memory"},
        std::pair{"negative", "expected a size of at least 0, found -1"},
        std::pair{"rank", "expected at most 8 sizes"},
        std::pair{"storage", "expected 1099511627776 elements of F32, found 16 bytes"},
        std::pair{"storage_type", "expected 4 elements of F64, found 16 bytes"},
        std::pair{"no_storage", "expected a storage that the file has, found \"7\""},
        std::pair{"copies", "bytes in all, found more"}}) {
    const std::string message = refusal(std::string("size_") + name);
    INFO(name << ": " << message);
    CHECK(message.find(found) != std::string::npos);
  }
}

TEST_CASE("a pickle that is no dictionary of tensors is refused, however deep it is") {
  for (const auto& [name, found] :
       {std::pair{"deep", "\"w\": expected a tensor"},
        std::pair{"doubled", "\"w\": expected a tensor"}, std::pair{"list", "expected an opcode"},
        std::pair{"number", "\"w\": expected a tensor"},
        std::pair{"dictionary", "\"w\": expected a tensor"},
        std::pair{"memo", "found none with the number 5"},
        std::pair{"underflow", "expected a value on the stack, found none"},
        std::pair{"twice", "expected one tensor of this name"},
        std::pair{"cut", "expected a line, found the end"},
        std::pair{"more", "expected the pickle to end"},
        std::pair{"protocol", "expected a pickle of protocol 2, found 4"},
        std::pair{"name", "expected names as keys"}}) {
    const std::string message = refusal(std::string("value_") + name);
    INFO(name << ": " << message);
    CHECK(message.find(found) != std::string::npos);
  }
}

TEST_CASE("an archive that does not hold together is refused") {
  CHECK(refusal("zip_good") == "no error");
  for (const auto& [name, found] :
       {std::pair{"deflated",
                  "\"x/data.pkl\": expected a stored entry (method 0), found compression method 8"},
        std::pair{"truncated", "do not end as one"},
        std::pair{"damaged", "expected data with the checksum"},
        std::pair{"big_endian", "\"byteorder\": expected little, found \"big\""},
        std::pair{"no_pickle", "expected an archive with <name>/data.pkl"},
        std::pair{"twice", "found \"x/data/0\" twice"},
        std::pair{"same_name", "found \"x/data/0\" twice"},
        std::pair{"overlapping", "found \"x/data/0\" within \"x/data.pkl\""},
        std::pair{"64", "found a zip64 entry"}, std::pair{"outside", "expected its header at byte"},
        std::pair{"none", "found a bare pickle"}}) {
    const std::string message = refusal(std::string("zip_") + name);
    INFO(name << ": " << message);
    CHECK(message.find(found) != std::string::npos);
  }
}

TEST_CASE(
    "no prefix of a PyTorch checkpoint and no changed byte of it ends otherwise than in words") {
  const auto whole = bytes_of("strided");
  for (std::size_t size = 0; size < whole->size(); ++size)
    CHECK(refusal(std::vector<std::byte>(
              whole->begin(), whole->begin() + static_cast<std::ptrdiff_t>(size))) != "no error");
  int refused = 0;
  for (std::size_t i = 0; i < whole->size(); ++i) {
    auto bytes = *whole;
    bytes[i] ^= static_cast<std::byte>(1u << i % 8);
    refused += refusal(bytes) == "no error" ? 0 : 1;
  }
  CHECK(refused > 0);
}

TEST_CASE("the machine under a pickle survives every change of a bit of it") {
  // Past the checksum: the pickle alone, and the storages it names.
  const auto archive = bytes_of("strided");
  const auto entries = graft::read_zip(*archive, "f");
  graft::detail::torch_unpickler::storages storages;
  std::vector<std::byte> pickle;
  for (const auto& e : entries) {
    if (e.name.ends_with("/data.pkl"))
      pickle.assign(e.data.begin(), e.data.end());
    if (const auto at = e.name.find("/data/"); at != std::string::npos)
      storages.emplace(e.name.substr(at + 6), e.data);
  }
  const std::string file = "f";
  int refused = 0, read = 0;
  for (std::size_t i = 0; i < pickle.size(); ++i)
    for (unsigned change = 1; change < 256; change *= 2) {
      auto bytes = pickle;
      bytes[i] ^= static_cast<std::byte>(change);
      try {
        graft::detail::torch_unpickler(bytes, storages, file).state_dict();
        ++read;
      } catch (const graft::checkpoint_error&) {
        ++refused;
      }
    }
  CHECK(refused > 0);
  CHECK(read > 0);  // other names, other numbers within bounds
}
