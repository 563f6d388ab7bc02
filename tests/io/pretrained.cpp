// SPDX-License-Identifier: MIT
// io/pretrained.hpp
#include <graft/io/json.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/tuning/strategies.hpp>

#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using F = cpu<float>;
using frozen_classifier = bert_classifier<F, untuned>;
using Catch::Matchers::Contains;

std::vector<float> copied(const F::tensor& x) { return {x.data, x.data + x.size()}; }

std::vector<float> encoded(const frozen_classifier& model) {
  golden peer("bert", "full");
  const token_batch batch = golden_batch(peer, model.config);
  host_workspace memory;
  const context<F> k{memory, batch.rows};
  cache_t<decltype(model.network.bert), inference_demand> none;
  return copied(model.network.bert.forward<inference_demand>(batch, none, k));
}

// The checkpoint `bert` with a change.
struct altered_bert {
  scratch_folder folder;
  safetensors_file from = safetensors_file::open(golden_path("bert/model.safetensors"));
  std::map<std::string, tensor_entry> tensors;
  nlohmann::json config = read_json(golden_path("bert/config.json"));

  altered_bert() {
    for (const tensor_entry& entry : from.entries())
      tensors[entry.name] = entry;
  }
  // A tensor that shares its values with another of at least its size.
  void add(const std::string& name, dtype type, std::vector<index_t> shape) {
    tensor_entry entry = tensors.at("bert.embeddings.word_embeddings.weight");
    entry.name = name;
    entry.type = type;
    entry.shape = std::move(shape);
    entry.bytes = size_of(type);
    for (const index_t extent : entry.shape)
      entry.bytes *= static_cast<std::size_t>(extent);
    tensors[name] = entry;
  }
  std::string write() const {
    std::vector<tensor_entry> entries;
    for (const auto& [name, entry] : tensors)
      entries.push_back(entry);
    write_safetensors(folder.path / "model.safetensors", entries);
    std::ofstream(folder.path / "config.json") << config.dump();
    return folder.path.string();
  }
  std::string refusal(const load_options& options = {}) const {
    const std::string path = write();
    return message_of<checkpoint_error>([&] { frozen_classifier::load(path, options); });
  }
};

}  // namespace

TEST_CASE("every form of a checkpoint gives the same bits") {
  const auto model = frozen_classifier::load(golden_path("bert"), {});
  const auto logits = golden_logits(model);
  const std::string form =
      GENERATE("bert_gamma_beta", "bert_misaligned", "bert_f16", "bert_bf16", "bert_sharded");
  INFO(form);
  load_report report;
  CHECK(golden_logits(load_classifier<F, untuned>(golden_path(form), {}, &report)) == logits);
  CHECK(report.fresh.empty());
  CHECK(report.unused.empty());
}

TEST_CASE("a checkpoint without prefix and head gives the same encoder and a fresh head") {
  load_report report;
  const auto bare = load_classifier<F, untuned>(golden_path("bert_bare"), {}, &report);
  CHECK(encoded(bare) == encoded(frozen_classifier::load(golden_path("bert"), {})));
  CHECK(report.fresh == std::vector<std::string>{"head.classifier.weight", "head.classifier.bias"});
  CHECK(report.unused == std::vector<std::string>{"embeddings.position_ids"});
}

TEST_CASE("frozen fp32 weights stay in the file where they are aligned") {
  const auto lies_in = [](const safetensors_file& file, const auto& p) {
    const auto* data = reinterpret_cast<const std::byte*>(p.data());
    return data >= file.data().data() && data < file.data().data() + file.data().size();
  };
  SECTION("they point into the mapping and keep it alive") {
    const checkpoint from = checkpoint::open(golden_path("bert"));
    frozen_classifier model(read_bert_config(from.config(), "config.json"), {"a", "b", "c"});
    fill_network(model.network, model.config, from, "bert", {});
    for (const auto& p : list_parts(model.network).parameters) {
      INFO(p.path);
      CHECK(lies_in(from.files().front(), p));
      CHECK(p.weight->owner == from.files().front().owner());
    }
  }
  SECTION("they are copied where the file has no place for them that is aligned") {
    const checkpoint from = checkpoint::open(golden_path("bert_misaligned"));
    frozen_classifier model(read_bert_config(from.config(), "config.json"), {"a", "b", "c"});
    fill_network(model.network, model.config, from, "bert", {});
    for (const auto& p : list_parts(model.network).parameters) {
      INFO(p.path);
      CHECK_FALSE(lies_in(from.files().front(), p));
      CHECK(reinterpret_cast<std::uintptr_t>(p.data()) % alignof(float) == 0);
    }
  }
}

TEST_CASE("a parameter that nothing fills is an error that names it") {
  altered_bert with;
  with.tensors.erase("bert.encoder.layer.1.attention.self.query.weight");
  CHECK_THAT(with.refusal(), Contains(with.folder.path.string()) &&
                                 Contains("bert.encoder.layer.1.attention.self.query.weight") &&
                                 Contains("layer.1.attention.query.weight"));
}

TEST_CASE("a tensor that nobody takes is an error that names it, unless it may be ignored") {
  altered_bert with;
  with.add("bert.encoder.layer.3.output.dense.bias", dtype::f32, {16});
  CHECK_THAT(with.refusal(), Contains(with.folder.path.string()) &&
                                 Contains("bert.encoder.layer.3.output.dense.bias") &&
                                 Contains("load_options.ignore"));
  load_report report;
  load_classifier<F, untuned>(with.write(), {.ignore = {"bert.encoder.layer.3."}}, &report);
  CHECK(report.unused == std::vector<std::string>{"bert.encoder.layer.3.output.dense.bias"});
}

TEST_CASE("the same tensor under two names is an error") {
  altered_bert with;
  with.add("encoder.layer.0.output.dense.bias", dtype::f32, {16});
  CHECK_THAT(with.refusal(), Contains("encoder.layer.0.output.dense.bias"));
}

TEST_CASE("a tensor of another shape is an error that names both shapes") {
  altered_bert with;
  const std::string name = "bert.encoder.layer.2.intermediate.dense.weight";
  with.add(name, dtype::f32, {16, 24});
  CHECK_THAT(with.refusal(), Contains(with.folder.path.string()) &&
                                 Contains(name + ": expected [24, 16], found [16, 24]"));
  with.add(name, dtype::f32, {384});
  CHECK_THAT(with.refusal(), Contains("expected [24, 16], found [384]"));
}

TEST_CASE("a tensor of integers is an error that names its type") {
  altered_bert with;
  with.add("bert.pooler.dense.bias", dtype::i64, {16});
  CHECK_THAT(with.refusal(), Contains("bert.pooler.dense.bias") && Contains("found I64"));
}

TEST_CASE("a head of another number of labels is refused or replaced") {
  const std::string folder = golden_path("bert");
  const auto load = [&](const load_options& options) {
    return frozen_classifier::load(folder, options);
  };
  CHECK_THAT(
      message_of<checkpoint_error>([&] { load({.labels = 2}); }),
      Contains("classifier.weight: expected [2, 16], found [3, 16]") && Contains("replace_head"));
  load_report report;
  const auto model =
      load_classifier<F, untuned>(folder, {.labels = 2, .replace_head = true}, &report);
  CHECK(report.fresh == std::vector<std::string>{"head.classifier.weight", "head.classifier.bias"});
  CHECK(report.unused == std::vector<std::string>{"classifier.bias", "classifier.weight"});
  CHECK(model.labels == std::vector<std::string>{"LABEL_0", "LABEL_1"});
  CHECK(golden_logits(model).size() == 10);
  CHECK(load({.label_names = {"x", "y", "z"}}).labels == std::vector<std::string>{"x", "y", "z"});
  CHECK(load({}).labels == std::vector<std::string>{"LABEL_0", "LABEL_1", "LABEL_2"});
}

TEST_CASE("a head that was made for another task is not taken for this one's") {
  load_report report;
  const auto fresh_with = [&](const load_options& options) {
    load_classifier<F, untuned>(golden_path("bert"), options, &report);
    return report.fresh;
  };
  CHECK(fresh_with({.task = task_kind::classification}).empty());
  const auto model = load_classifier<F, untuned>(
      golden_path("bert"), {.task = task_kind::token_classification, .labels = 3}, &report);
  CHECK(report.fresh ==
        std::vector<std::string>{"head.classifier.weight", "head.classifier.bias"});
  CHECK(model.config.task == task_kind::token_classification);
  const auto finder =
      load_classifier<F, untuned>(golden_path("bert"), {.task = task_kind::question_answering});
  CHECK(finder.labels == std::vector<std::string>{"first", "last"});
  const auto judge =
      load_classifier<F, untuned>(golden_path("bert"), {.task = task_kind::regression});
  CHECK(judge.labels == std::vector<std::string>{"score"});
  CHECK(judge.network.head.out() == 1);
  const auto refused = [](const load_options& options) {
    return [=] { load_classifier<F, untuned>(golden_path("bert"), options); };
  };
  CHECK_THROWS_WITH(refused({.task = task_kind::regression, .label_names = {"a", "b"}})(),
                    Contains("expected 1 label for regression, found 2"));
  CHECK_THROWS_WITH(refused({.task = task_kind::question_answering, .labels = 3})(),
                    Contains("expected 2 labels for question-answering, found 3"));
}

TEST_CASE("a model for tokens that is saved loads to the same bits, as what it is") {
  const scratch_folder folder;
  const auto model = load_classifier<F, untuned>(
      golden_path("bert"), {.task = task_kind::token_classification, .label_names = {"O", "B-X"}});
  save_pretrained(model, folder / "saved", "BertForTokenClassification", model.labels);
  load_report report;
  const auto again = load_classifier<F, untuned>(folder / "saved", {}, &report);
  CHECK(report.fresh.empty());
  CHECK(again.config.task == task_kind::token_classification);
  CHECK(again.labels == model.labels);
  CHECK(golden_logits(again) == golden_logits(model));
}

TEST_CASE("a config.json without labels asks for their number") {
  altered_bert with;
  with.config.erase("id2label");
  CHECK_THAT(with.refusal(), Contains("config.json") && Contains("load_options.labels"));
  CHECK(frozen_classifier::load(with.write(), {.labels = 3}).labels.size() == 3);
}

TEST_CASE("a config.json of what graft does not compute is refused with its place") {
  altered_bert with;
  with.config["model_type"] = "gpt2";
  CHECK_THAT(with.refusal(),
             Contains("config.json") && Contains("\"model_type\"") && Contains("found \"gpt2\""));
}

TEST_CASE("load_options.dropout takes the place of the configuration's rates") {
  const auto model = frozen_classifier::load(golden_path("bert"), {.dropout = 0.25});
  CHECK(model.config.hidden_dropout == 0.25);
  CHECK(model.config.attention_dropout == 0.25);
  CHECK(model.config.head_dropout == 0.25);
  CHECK_THAT(message_of<input_error>(
                 [] { frozen_classifier::load(golden_path("bert"), {.dropout = 1.0}); }),
             Contains("load_options.dropout") && Contains("found 1.0"));
}

TEST_CASE("a saved model loads to the same bits") {
  const scratch_folder folder;
  const std::string name = GENERATE("bert", "roberta", "distilbert");
  INFO(name);
  const auto model = bert_classifier<F, strategies::full>::load(golden_path(name), {});
  save_pretrained(model, folder / "saved", "SequenceClassification", {"no", "maybe", "yes"});
  load_report report;
  const auto again = load_classifier<F, untuned>(folder / "saved", {}, &report);
  CHECK(report.fresh.empty());
  CHECK(report.unused.empty());
  CHECK(again.labels == std::vector<std::string>{"no", "maybe", "yes"});
  CHECK(again.config.family == model.config.family);
  CHECK(golden_logits(again, name) == golden_logits(model, name));
  // … under the names and shapes that Hugging Face gives them.
  const checkpoint ours = checkpoint::open(folder / "saved");
  const checkpoint theirs = checkpoint::open(golden_path(name));
  REQUIRE(ours.names() == theirs.names());
  for (const std::string& tensor : ours.names()) {
    INFO(tensor);
    CHECK(ours.find(tensor)->shape == theirs.find(tensor)->shape);
  }
}

TEST_CASE("a model with adapters in it is not saved as a pretrained one") {
  const scratch_folder folder;
  const bert_classifier<F, strategies::lora_query_value> model(
      read_bert_config(read_json(golden_path("bert/config.json")), "config.json"), {"a", "b"});
  CHECK_THAT(message_of<error>([&] { save_pretrained(model, folder / "saved", "Any"); }),
             Contains("save_pretrained") && Contains("layer.0.attention.query.lora.a"));
  CHECK_FALSE(std::filesystem::exists(folder / "saved"));
}

}  // namespace graft_test
