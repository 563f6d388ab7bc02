// SPDX-License-Identifier: MIT
// The readers of files against hostile/corpus, which hostile/make_hostile.py wrote: every file is
// read, if its name ends in "_fine", or refused by a graft::error that names it, in no time and no
// memory. (The tokenizers': text/hostile_files.cpp. What gets as far as a model:
// hostile_models.cpp.)
#include <graft/io/adapter_file.hpp>
#include <graft/io/adapterhub_read.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/io/checkpoint_folder.hpp>
#include <graft/io/json.hpp>
#include <graft/io/module_names.hpp>
#include <graft/io/safetensors.hpp>
#include <graft/io/torch_file.hpp>

#include <filesystem>
#include <string>

#include "support/catch.hpp"
#include "support/hostile_corpus.hpp"
#include "support/message_of.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

TEST_CASE("JSON that nobody should have written is refused by its file, line and column") {
  for_each_hostile("json", [](const std::string& file) { read_json(file); });
}

TEST_CASE("no safetensors file leads out of its bytes") {
  for_each_hostile("safetensors", [](const std::string& file) {
    const auto opened = safetensors_file::open(file);
    for (const tensor_entry& t : opened.entries()) {
      CHECK(opened.find(t.name) == &t);
      CHECK(t.data >= opened.data().data());
      CHECK(t.data + t.bytes <= opened.data().data() + opened.data().size());
    }
  });
}

TEST_CASE("no index of shards leads out of its folder") {
  for_each_hostile("shards", [](const std::string& folder) {
    detail::open_shards(std::filesystem::path(folder) / "model.safetensors.index.json");
  });
}

TEST_CASE("no config.json asks for sizes that no model has") {
  for_each_hostile("configs", [](const std::string& file) {
    const auto json = read_json(file);
    read_labels(json, file);
    hugging_face_names(read_bert_config(json, file));
  });
}

TEST_CASE("no pickle does anything") {
  for_each_hostile("torch", [](const std::string& file) { torch_file::open(file); });
}

TEST_CASE("names that the system refuses are errors of graft's") {
  const scratch_folder folder;
  bert_config c;
  c.layers = 1;
  // A link to itself, where a file is looked for.
  for (const char* name : {"adapter_config.json", "adapter_setup.json", "graft_adapter.json"}) {
    const scratch_folder looped;
    std::filesystem::create_symlink(looped / name, looped / name);
    CHECK_THAT(message_of<error>([&] { read_adapterhub(looped.path.string(), c); }),
               Catch::Matchers::Contains(looped.path.string()));
    CHECK_THAT(message_of<error>([&] { read_adapter(looped.path.string()); }),
               Catch::Matchers::Contains(looped.path.string()));
  }
}

}  // namespace graft_test
