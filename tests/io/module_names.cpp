// SPDX-License-Identifier: MIT
// io/module_names.hpp
#include <graft/io/module_names.hpp>

#include <set>
#include <string>

#include "support/catch.hpp"

namespace graft_test {

using namespace graft;

TEST_CASE("every module of every family has one name, and is found by it") {
  for (const bert_family family : {bert_family::bert, bert_family::roberta, bert_family::distilbert,
                                   bert_family::roberta_prelayernorm})
    for (const task_kind task : {task_kind::classification, task_kind::token_classification,
                                 task_kind::question_answering}) {
      bert_config c;
      c.family = family;
      c.task = task;
      c.layers = 3;
      const module_names names = hugging_face_names(c);
      std::set<std::string> seen;
      for (const auto& [path, module] : names.modules) {
        INFO(module);
        CHECK(seen.insert(module).second);
        CHECK(names.path_of(module) == path);
        CHECK(names.name_of(path) == module);
        CHECK(checkpoint_name(family, path + ".weight", task) == module + ".weight");
        CHECK(path_of_checkpoint_name(family, module + ".bias") == path + ".bias");
      }
      // … and of the bare encoder, without the prefix.
      for (const auto& [path, module] : hugging_face_names(c, false).modules)
        CHECK(names.path_of(module) == path);
    }
}

TEST_CASE("names of no module have no path") {
  for (const char* name :
       {"", "bert", "bert.encoder.layer.0", "bert.encoder.layer.x.attention.self.query",
        "bert.encoder.layer..attention.self.query", "bert.encoder.layer.00.attention.self.query",
        "bert.encoder.layer.0.attention.self", "roberta.encoder.layer.0.attention.self.query",
        "encoder.layer.99999999999999999999.crossattention", "decoder.query"})
    CHECK(path_of_module(bert_family::bert, name) == std::nullopt);
  CHECK(path_of_checkpoint_name(bert_family::bert, "classifier") == std::nullopt);
  CHECK(path_of_checkpoint_name(bert_family::bert, "classifier.gamma") == std::nullopt);
}

}  // namespace graft_test
