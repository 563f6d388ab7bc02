// SPDX-License-Identifier: MIT
// io/bert_names.hpp
#include <graft/io/bert_names.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace graft;

namespace {

// The paths of a classifier with `layers` layers.
std::vector<std::string> paths_of(bert_family family, int layers) {
  std::vector<std::string> paths;
  const auto add = [&](const std::string& part) {
    paths.push_back(part + ".weight");
    paths.push_back(part + ".bias");
  };
  paths.push_back("embeddings.word.weight");
  paths.push_back("embeddings.position.weight");
  if (family != bert_family::distilbert)
    paths.push_back("embeddings.token_type.weight");
  add("embeddings.norm");
  const bool pre_norm = order_of(family) == norm_order::before;
  for (int i = 0; i < layers; ++i) {
    const std::string layer = "layer." + std::to_string(i) + ".";
    for (const char* part : {"attention.query", "attention.key", "attention.value",
                             "attention.output", "feed_forward.input", "feed_forward.output"})
      add(layer + part);
    add(layer + (pre_norm ? "attention.norm" : "attention_join.norm"));
    add(layer + (pre_norm ? "feed_forward.norm" : "feed_forward_join.norm"));
  }
  if (pre_norm)
    add("encoder_norm");
  if (family == bert_family::bert)
    add("pooler");
  else
    add("head.dense");
  add("head.classifier");
  return paths;
}

}  // namespace

TEST_CASE("the names of a classifier's parameters are those of the peer's checkpoint") {
  struct peer {
    const char* folder;
    bert_family family;
    int layers;
  };
  const peer p =
      GENERATE(values<peer>({{"bert", bert_family::bert, 3},
                             {"roberta", bert_family::roberta, 2},
                             {"distilbert", bert_family::distilbert, 3},
                             {"roberta_prelayernorm", bert_family::roberta_prelayernorm, 2}}));
  INFO(p.folder);
  const auto file = safetensors_file::open(std::string(GRAFT_TEST_DATA) + "/models/" + p.folder +
                                           "/model.safetensors");
  std::set<std::string> theirs, ours;
  for (const tensor_entry& entry : file.entries())
    theirs.insert(entry.name);
  for (const std::string& path : paths_of(p.family, p.layers))
    ours.insert(checkpoint_name(p.family, path).value());
  CHECK(ours == theirs);
}

TEST_CASE("the names of a masked-language head are the peers'") {
  const auto name = [](bert_family family, const char* path) {
    return checkpoint_name(family, path).value();
  };
  CHECK(name(bert_family::bert, "mlm.dense.weight") == "cls.predictions.transform.dense.weight");
  CHECK(name(bert_family::bert, "mlm.norm.bias") == "cls.predictions.transform.LayerNorm.bias");
  CHECK(name(bert_family::bert, "mlm.decoder.bias") == "cls.predictions.bias");
  CHECK(name(bert_family::roberta, "mlm.norm.weight") == "lm_head.layer_norm.weight");
  CHECK(name(bert_family::roberta, "mlm.decoder.bias") == "lm_head.bias");
  CHECK(name(bert_family::roberta_prelayernorm, "mlm.dense.bias") == "lm_head.dense.bias");
  CHECK(name(bert_family::distilbert, "mlm.dense.bias") == "vocab_transform.bias");
  CHECK(name(bert_family::distilbert, "mlm.decoder.bias") == "vocab_projector.bias");
}

TEST_CASE("one of several heads is named after its number and as the only one would be") {
  CHECK(checkpoint_name(bert_family::bert, "head.0.classifier.weight") ==
        "task_heads.0.classifier.weight");
  CHECK(checkpoint_name(bert_family::roberta, "head.12.dense.bias") ==
        "task_heads.12.classifier.dense.bias");
  for (const char* path : {"head.0.weight", "head.0.classifier.lora.a", "head.0x.classifier.weight",
                           "head.0", "head..classifier.weight", "head.1.dense.weight"}) {
    INFO(path);
    CHECK(checkpoint_name(bert_family::bert, path) == std::nullopt);
  }
}

TEST_CASE("a head for tokens has the peers' names, the same in every family") {
  for (const bert_family family :
       {bert_family::bert, bert_family::roberta, bert_family::distilbert}) {
    const auto name = [&](task_kind task) {
      return checkpoint_name(family, "head.classifier.weight", task);
    };
    CHECK(name(task_kind::token_classification) == "classifier.weight");
    CHECK(name(task_kind::question_answering) == "qa_outputs.weight");
    CHECK(name(task_kind::regression) == name(task_kind::classification));
  }
}

TEST_CASE("what is no part of a pretrained model has no name in its checkpoint") {
  for (const char* path :
       {"layer.0.attention.query.lora.a", "layer.11.attention.adapter.down.weight",
        "layer.0.feed_forward_join.adapter.up.bias", "layer.0.adapter.down.weight",
        "layer.0.weight", "head.lora.b", "weight", ""}) {
    INFO(path);
    CHECK(checkpoint_name(bert_family::bert, path) == std::nullopt);
  }
  CHECK(checkpoint_name(bert_family::bert, "head.dense.weight") == std::nullopt);
  CHECK(checkpoint_name(bert_family::roberta, "layer.0.attention.norm.weight") == std::nullopt);
  CHECK(checkpoint_name(bert_family::roberta_prelayernorm, "layer.0.attention_join.norm.bias") ==
        std::nullopt);
}

TEST_CASE("a parameter is found with and without prefix, and under the old names of norms") {
  using names = std::vector<std::string>;
  CHECK(checkpoint_spellings(bert_family::bert, "bert.pooler.dense.weight") ==
        names{"bert.pooler.dense.weight", "pooler.dense.weight"});
  CHECK(checkpoint_spellings(bert_family::bert, "bert.embeddings.LayerNorm.bias") ==
        names{"bert.embeddings.LayerNorm.bias", "embeddings.LayerNorm.bias",
              "bert.embeddings.LayerNorm.beta", "embeddings.LayerNorm.beta"});
  CHECK(checkpoint_spellings(bert_family::roberta_prelayernorm,
                             "roberta_prelayernorm.LayerNorm.weight") ==
        names{"roberta_prelayernorm.LayerNorm.weight", "LayerNorm.weight",
              "roberta_prelayernorm.LayerNorm.gamma", "LayerNorm.gamma"});
  CHECK(checkpoint_spellings(bert_family::roberta, "classifier.dense.weight") ==
        names{"classifier.dense.weight"});
}
