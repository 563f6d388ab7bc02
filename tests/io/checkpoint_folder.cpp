// SPDX-License-Identifier: MIT
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/json.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <cstddef>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ios>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fs = std::filesystem;
using graft::checkpoint;

namespace {

// A folder with a config; the weights are each test's own.
struct model_folder : graft_test::scratch_folder {
  model_folder() { write("config.json", "{\"hidden_size\": 4}"); }

  // Each tensor is one float: its name's first character.
  void write_weights(const std::string& file, const std::vector<std::string>& names) const {
    std::vector<float> values;
    values.reserve(names.size());
    std::vector<graft::tensor_entry> entries;
    for (const auto& name : names) {
      values.push_back(static_cast<float>(name[0]));
      entries.push_back(
          {name, graft::dtype::f32, {1}, reinterpret_cast<const std::byte*>(&values.back()), 4});
    }
    graft::write_safetensors(path / file, entries);
  }

  void write_index(const std::string& weight_map) const {
    write("model.safetensors.index.json",
          "{\"metadata\": {\"total_size\": 12}, \"weight_map\": " + weight_map + "}");
  }

  std::string error() const {
    try {
      checkpoint::open(path);
    } catch (const graft::error& e) {
      std::string message = e.what();
      // The folder's name is another each time.
      for (auto at = message.find(path.string()); at != std::string::npos;
           at = message.find(path.string()))
        message.replace(at, path.string().size(), "M");
      return message;
    }
    return "no error";
  }
};

float value_of(const graft::tensor_entry& tensor) {
  float value = 0;
  graft::convert_to(tensor.type, tensor.data, 1, &value);
  return value;
}

const std::string first_shard = "model-00001-of-00002.safetensors";
const std::string second_shard = "model-00002-of-00002.safetensors";

}  // namespace

TEST_CASE("a model in one file is opened with its config") {
  const model_folder folder;
  folder.write_weights("model.safetensors", {"b", "a"});
  const auto model = checkpoint::open(folder.path);
  CHECK(model.names() == std::vector<std::string>{"a", "b"});
  REQUIRE(model.find("a") != nullptr);
  CHECK(value_of(*model.find("a")) == 'a');
  CHECK(model.find("c") == nullptr);
  CHECK(graft::get<int>(model.config(), "hidden_size", "config.json") == 4);
}

TEST_CASE("a model in several files looks like one") {
  const model_folder folder;
  folder.write_weights(first_shard, {"b", "d"});
  folder.write_weights(second_shard, {"a", "c"});
  folder.write_index("{\"a\": \"" + second_shard + "\", \"b\": \"" + first_shard + "\", \"c\": \"" +
                     second_shard + "\", \"d\": \"" + first_shard + "\"}");
  const auto model = checkpoint::open(folder.path);
  CHECK(model.files().size() == 2);
  CHECK(model.names() == std::vector<std::string>{"a", "b", "c", "d"});
  for (const auto& name : model.names())
    CHECK(value_of(*model.find(name)) == static_cast<float>(name[0]));
  CHECK(model.owner_of(*model.find("a")) == model.owner_of(*model.find("c")));
  CHECK(model.owner_of(*model.find("a")) != model.owner_of(*model.find("b")));
}

TEST_CASE("the owner of a tensor outlives the checkpoint and its files") {
  std::shared_ptr<const void> owner;
  graft::tensor_entry tensor;
  {
    const model_folder folder;
    folder.write_weights("model.safetensors", {"a"});
    const auto model = checkpoint::open(folder.path);
    tensor = *model.find("a");
    owner = model.owner_of(tensor);
  }
  CHECK(value_of(tensor) == 'a');
}

TEST_CASE("a tensor of another checkpoint has no owner here") {
  const model_folder folder;
  folder.write_weights("model.safetensors", {"a"});
  const auto model = checkpoint::open(folder.path);
  const auto other = checkpoint::open(folder.path);
  CHECK_THROWS_AS(model.owner_of(*other.find("a")), graft::checkpoint_error);
}

TEST_CASE("one file is preferred over an index, as in transformers") {
  const model_folder folder;
  folder.write_weights("model.safetensors", {"a"});
  folder.write_index("{\"b\": \"absent\"}");
  CHECK(checkpoint::open(folder.path).names() == std::vector<std::string>{"a"});
}

TEST_CASE("a moved checkpoint keeps its tensors where they are") {
  const model_folder folder;
  folder.write_weights("model.safetensors", {"a"});
  auto model = checkpoint::open(folder.path);
  const auto* tensor = model.find("a");
  const checkpoint moved = std::move(model);
  CHECK(moved.find("a") == tensor);
}

TEST_CASE("a folder without weights, and a place without folder, are errors") {
  const model_folder folder;
  CHECK(folder.error() ==
        "graft: M: expected model.safetensors or model.safetensors.index.json, found neither");
  CHECK_THROWS_WITH(checkpoint::open(folder.path / "no"),
                    "graft: " + (folder.path / "no").string() +
                        ": expected a model's folder, found nothing there");
  CHECK_THROWS_WITH(checkpoint::open(folder.path / "config.json"),
                    "graft: " + (folder.path / "config.json").string() +
                        ": expected a model's folder, found a file");
}

TEST_CASE("weights that are only pickled are refused with the way to convert them") {
  for (const std::string name : {"pytorch_model.bin", "pytorch_model.bin.index.json"}) {
    const model_folder folder;
    folder.write(name, "x");
    CHECK_THAT(folder.error(),
               Catch::Matchers::StartsWith("graft: M: expected model.safetensors, found only "
                                           "pytorch_model.bin; graft reads safetensors only: "
                                           "convert with "));
    folder.write_weights("model.safetensors", {"a"});
    CHECK(folder.error() == "no error");
  }
}

TEST_CASE("a config that is missing, malformed or no object is an error") {
  const model_folder folder;
  folder.write_weights("model.safetensors", {"a"});
  folder.write("config.json", "[1]");
  CHECK(folder.error() == "graft: M/config.json: expected an object, found a list of 1");
  folder.write("config.json", "{\"a\": 1, \"a\": 2}");
  CHECK_THAT(folder.error(),
             Catch::Matchers::StartsWith("graft: M/config.json, line 1, column 12"));
  fs::remove(folder.path / "config.json");
  CHECK(folder.error() == "graft: cannot open M/config.json: No such file or directory");
}

TEST_CASE("a shard's name cannot lead out of the folder") {
  const model_folder folder;
  folder.write_weights("a.safetensors", {"a"});
  fs::create_directory(folder.path / "sub");
  fs::copy(folder.path / "a.safetensors", folder.path / "sub" / "a.safetensors");
  const std::string outside = (folder.path / "a.safetensors").string();
  for (const std::string& name :
       {std::string("../a.safetensors"), std::string("sub/a.safetensors"),
        std::string("./a.safetensors"), std::string("sub/../a.safetensors"), outside,
        std::string(".."), std::string("."), std::string(""), std::string("/"),
        std::string("..\\a.safetensors"), std::string("C:a.safetensors"),
        std::string("a.safetensors\0b", 15)}) {
    folder.write_index("{\"a\": " + nlohmann::json(name).dump() + "}");
    CAPTURE(name);
    CHECK_THAT(folder.error(),
               Catch::Matchers::StartsWith("graft: M/model.safetensors.index.json: tensor \"a\": "
                                           "expected the plain name of a file beside it, found "));
  }
  folder.write_index("{\"a\": \"a.safetensors\"}");
  CHECK(folder.error() == "no error");
}

TEST_CASE("an index that does not agree with its shards is an error that lists the names") {
  const model_folder folder;
  folder.write_weights("x", {"a", "b"});
  folder.write_weights("y", {"c"});

  folder.write_index(R"({"a": "x", "b": "x", "c": "y"})");
  CHECK(folder.error() == "no error");
  folder.write_index(R"({"a": "x", "b": "x", "c": "y", "d": "y", "e": "y"})");
  CHECK(folder.error() ==
        "graft: M/y: expected the tensors that model.safetensors.index.json lists for it, found no "
        "\"d\", \"e\"");
  folder.write_index(R"({"a": "x", "c": "y"})");
  CHECK(folder.error() ==
        "graft: M/x: expected only the tensors that model.safetensors.index.json lists for it, "
        "found also \"b\"");
  folder.write_index(R"({"a": "x", "b": "y", "c": "y"})");
  CHECK(folder.error() ==
        "graft: M/x: expected only the tensors that model.safetensors.index.json lists for it, "
        "found also \"b\"");
  folder.write_index(R"({"a": "x", "b": "x", "c": "z"})");
  CHECK(folder.error() == "graft: cannot open M/z: No such file or directory");

  folder.write_weights("y", {"a", "c"});  // "a" is now in both
  folder.write_index(R"({"a": "x", "b": "x", "c": "y"})");
  CHECK(folder.error() ==
        "graft: M/y: expected only the tensors that model.safetensors.index.json lists for it, "
        "found also \"a\"");
}

TEST_CASE("a long list of names is cut") {
  const model_folder folder;
  std::vector<std::string> names;
  for (int i = 10; i < 35; ++i)
    names.push_back("t" + std::to_string(i));
  folder.write_weights("x", names);
  folder.write_index(R"({"t10": "x"})");
  CHECK_THAT(folder.error(), Catch::Matchers::EndsWith("\"t19\", \"t20\" and 14 more"));
}

TEST_CASE("a malformed index is an error with its path") {
  const model_folder folder;
  folder.write_weights("x", {"a"});
  const fs::path path = folder.path / "model.safetensors.index.json";
  const std::string start = "graft: M/model.safetensors.index.json";
  const std::map<std::string, std::string> cases{
      {"", ", line 1, column 1: "},
      {"[]", ": expected an object, found a list of 0"},
      {"{}", ": \"weight_map\": expected a value, found no such key"},
      {"{\"weight_map\": []}", ": \"weight_map\": expected an object, found a list of 0"},
      {"{\"weight_map\": {}}", ": expected at least one tensor, found none"},
      {"{\"weight_map\": {\"a\": 1}}", ": \"weight_map\".\"a\": expected a string, found 1"},
      {"{\"weight_map\": {\"a\": \"x\", \"a\": \"x\"}}", ", line 1, column 29: the key \"a\""}};
  for (const auto& [text, expected] : cases) {
    folder.write("model.safetensors.index.json", text);
    CHECK_THAT(folder.error(), Catch::Matchers::StartsWith(start + expected));
  }
}

TEST_CASE("a shard that is a folder, or no safetensors file, is an error with its path") {
  const model_folder folder;
  fs::create_directory(folder.path / "x");
  folder.write_index("{\"a\": \"x\"}");
  CHECK_THAT(folder.error(), Catch::Matchers::StartsWith("graft: "));
  CHECK(folder.error().find("M/x") != std::string::npos);
  folder.write_index("{\"a\": \"config.json\"}");
  CHECK_THAT(folder.error(),
             Catch::Matchers::StartsWith("graft: M/config.json: expected a header"));
}

TEST_CASE("a mutated index is accepted or refused, and nothing else") {
  const model_folder folder;
  folder.write_weights("x", {"a", "b"});
  folder.write_weights("y", {"c"});
  const std::string valid =
      R"({"metadata": {"total_size": 12}, "weight_map": {"a": "x", "b": "x", "c": "y"}})";
  const std::string characters = "abcxyz./\\{}[]\":, 0";
  std::mt19937 random(3);
  int accepted = 0;
  int refused = 0;
  for (int round = 0; round < 500; ++round) {
    std::string text = valid;
    text[random() % text.size()] = characters[random() % characters.size()];
    if (random() % 8 == 0)
      text.resize(random() % text.size());
    folder.write("model.safetensors.index.json", text);
    (folder.error() == "no error" ? accepted : refused) += 1;
  }
  CHECK(accepted > 50);
  CHECK(refused > 200);
}
