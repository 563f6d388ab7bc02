// SPDX-License-Identifier: MIT
// io/peft.hpp: what is refused, and how; networks of one's own. (What agrees with PEFT:
// parity/peft_folders.cpp.)
#include <graft/backend/reference.hpp>
#include <graft/io/json.hpp>
#include <graft/io/peft.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/model.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/strategies.hpp>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

using Catch::Matchers::Contains;

namespace {

// A copy of a folder that PEFT wrote, to be spoilt.
struct spoilt_folder {
  scratch_folder scratch;
  std::string path = scratch / "adapter";

  explicit spoilt_folder(const std::string& name = "bert.lora") {
    std::filesystem::copy(std::string(GRAFT_TEST_DATA) + "/peft_folders/" + name, path);
  }
  void config(const std::function<void(nlohmann::json&)>& change) const {
    const auto file = std::filesystem::path(path) / "adapter_config.json";
    nlohmann::json all = read_json(file);
    change(all);
    std::ofstream(file) << all.dump();
  }
  void tensors(const std::function<void(std::vector<tensor_entry>&)>& change) const {
    const auto file = std::filesystem::path(path) / "adapter_model.safetensors";
    const auto from = safetensors_file::open(file);
    auto entries = from.entries();
    change(entries);
    write_safetensors(file, entries, {{"format", "pt"}});
  }
  adapter_data read() const { return read_peft(path, read_bert_config_of(golden_path("bert"))); }
  std::string refusal() const {
    return message_of<checkpoint_error>([&] { read(); });
  }
};

}  // namespace

TEST_CASE("options of PEFT that change what is computed and that graft lacks are refused by name") {
  for (const auto& [key, value] : std::vector<std::pair<std::string, nlohmann::json>>{
           {"layer_replication", {{0, 1}}},
           {"target_parameters", {"experts"}},
           {"alora_invocation_tokens", {1, 2}},
           {"use_qalora", true},
           {"use_bdlora", {{"a", 1}}},
           {"arrow_config", {{"top_k", 1}}}}) {
    const spoilt_folder folder;
    folder.config([&, &k = key, &v = value](auto& json) { json[k] = v; });
    CHECK_THAT(folder.refusal(), Contains("adapter_config.json: \"" + key + "\": expected nothing"));
  }
  const spoilt_folder started_from_base;
  started_from_base.config([](auto& json) { json["init_lora_weights"] = "pissa"; });
  CHECK_THAT(started_from_base.refusal(),
             Contains("\"init_lora_weights\"") && Contains("found \"pissa\""));
  const spoilt_folder other_method;
  other_method.config([](auto& json) { json["peft_type"] = "LOHA"; });
  CHECK_THAT(other_method.refusal(), Contains("\"peft_type\": expected LORA") && Contains("LOHA"));
  const spoilt_folder disagreeing;
  disagreeing.config([](auto& json) { json["peft_type"] = "IA3"; });
  CHECK_THAT(disagreeing.refusal(), Contains("expected tensors of this model's modules, found "
                                             "bert.encoder.layer.0.attention.self.query.lora_A.weight"));
  const spoilt_folder seeded("bert.vera");
  seeded.tensors([](auto& all) {
    std::erase_if(all, [](const auto& t) { return t.name.starts_with("base_model.vera_"); });
  });
  CHECK_THAT(seeded.refusal(), Contains("expected vera_A and vera_B") && Contains("save_projection"));
}

TEST_CASE("keys that nobody knows are ignored and listed") {
  const spoilt_folder folder;
  folder.config([](auto& json) { json["colour"] = "green"; });
  const adapter_data a = folder.read();
  REQUIRE(a.notes.size() == 1);
  CHECK_THAT(a.notes[0], Contains("adapter_config.json: \"colour\" is not known and was ignored"));
}

TEST_CASE("a file must have what target_modules names, and no more") {
  const spoilt_folder less;
  less.tensors([](auto& all) {
    std::erase_if(all, [](const auto& t) { return t.name.find("layer.1.attention.self.query") != std::string::npos; });
  });
  CHECK_THAT(less.refusal(), Contains("found none for bert.encoder.layer.1.attention.self.query"));
  const spoilt_folder more;
  more.config([](auto& json) { json["target_modules"] = {"query"}; });
  CHECK_THAT(more.refusal(), Contains("found such for bert.encoder.layer.0.attention.self.value, "));
  const spoilt_folder half;
  half.tensors([](auto& all) {
    std::erase_if(all, [](const auto& t) { return t.name.ends_with("layer.0.attention.self.query.lora_B.weight"); });
  });
  CHECK_THAT(half.refusal(), Contains("layer.0.attention.query: expected b beside the other parts"));
  const spoilt_folder ranks;
  ranks.config([](auto& json) { json["r"] = 5; });
  CHECK_THAT(ranks.refusal(), Contains("expected rank 5 as adapter_config.json says, found 4"));
  const spoilt_folder strange;
  strange.tensors([](auto& all) { all[0].name = "base_model.model.bert.encoder.layer.0.crossattention.lora_A.weight"; });
  CHECK_THAT(strange.refusal(), Contains("expected tensors of this model's modules, found "
                                         "bert.encoder.layer.0.crossattention.lora_A.weight"));
  const spoilt_folder integers;
  integers.tensors([](auto& all) { all[0].type = dtype::i32; });
  CHECK_THAT(integers.refusal(), Contains("expected F32, F16, BF16 or F64, found I32"));
}

TEST_CASE("patterns are PEFT's, and a hostile one does no harm") {
  const spoilt_folder endless;
  endless.config([](auto& json) { json["target_modules"] = "(a*)*b(.*a)*((.*)*)*c"; });
  CHECK_THAT(endless.refusal(), Contains("found such for"));
  const spoilt_folder none;
  none.config([](auto& json) { json["target_modules"] = "(query"; });
  CHECK_THAT(none.refusal(), Contains("\"target_modules\": expected a regular expression, found \"(query\""));
  const spoilt_folder longest;
  longest.config([](auto& json) { json["target_modules"] = std::string(3000, '('); });
  CHECK_THAT(longest.refusal(),
             Contains("expected a pattern of at most 500 characters, found 3000"));
}

TEST_CASE("what a tuning cannot hold is refused with the recipe that would hold it") {
  using B = reference<float>;
  const std::string folder = std::string(GRAFT_TEST_DATA) + "/peft_folders/";
  const auto config = read_bert_config_of(golden_path("bert"));
  const auto recipe_for = [&](const std::string& name) {
    return recipe_text(read_peft(folder + name, config), config.layers);
  };
  CHECK(recipe_for("bert.lora") ==
        "struct its_tuning {\n"
        "  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic}),\n"
        "                                on(at::head, train{})};\n"
        "};\n");
  CHECK_THAT(recipe_for("bert.lora_layers"), Contains("lora{.rank = dynamic}, between(1, 2))"));
  CHECK_THAT(recipe_for("bert.ia3"), Contains("on(at::feed_forward_output | at::attention_output, ia3{.place = ia3_place::input})") || Contains("on(at::attention_output | at::feed_forward_output, ia3{.place = ia3_place::input})"));
  CHECK_THAT(recipe_for("bert.lora_bias"), Contains("lora{.rank = dynamic, .bias = true}"));
  CHECK_THAT(recipe_for("bert.prompt"), Contains("on(at::word, prompt{.tokens = 4, .encoder = prompt_encoder::none})"));
  bert_classifier<B, untuned> plain(config, {"a", "b", "c"});
  const std::string refusal = message_of<checkpoint_error>(
      [&] { put_adapter(plain, read_peft(folder + "bert.dora", config)); });
  CHECK_THAT(refusal, Contains("no place for dora at layer.0.attention.query") &&
                          Contains("A recipe that holds it:\nstruct its_tuning {") &&
                          Contains("on(at::query | at::value, dora{.rank = dynamic})"));
}

namespace {

// A network of one's own: a convolution and a map, both with low-rank updates.
template <class Backend>
struct small_network {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;
  using input_type = tensor;
  using conv_type = lora_conv<frozen<conv2d<B>>>;
  using map_type = lora_layer<frozen<linear<B>>>;

  struct conv_tag { static constexpr std::string_view name = "features"; };
  struct map_tag { static constexpr std::string_view name = "map"; };

  conv_type features;
  map_type map;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(conv_tag{}, z.features...);
    f(map_tag{}, z.map...);
  }
  struct gradient {
    gradient_t<conv_type> features;
    gradient_t<map_type> map;
  };
  template <demand D>
  struct cache {
    cache_t<conv_type, D> features;
    cache_t<map_type, D> map;
  };
  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    return map.template forward<D>(features.template forward<D>(x, c.features, k), c.map, k);
  }
  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    auto d = map.template backward<demand{true, D.params}>(std::move(dy), c.map, part<D>(g, &gradient::map), k);
    features.template backward<D>(std::move(d), c.features, part<D>(g, &gradient::features), k);
    return {};
  }
};

}  // namespace

TEST_CASE("networks of one's own travel under their own names, convolutions as PEFT has them") {
  using B = reference<float>;
  random_stream random(1, 2);
  const conv_geometry geometry{.size = {4, 4}, .channels = 3, .kernel = {3, 2}, .padding = {1, 0}};
  small_network<B> network;
  network.features = {frozen(conv2d<B>(geometry, 2)), lora{.rank = dynamic, .start_rank = 2}, random};
  network.map = {frozen(linear<B>(network.features.out(), 5)), lora{.rank = dynamic, .start_rank = 3}, random};
  model<small_network<B>> m(network, 7);
  const auto values = [](const auto& of) {
    std::vector<float> all;
    for (const segment& s : of.parameters.segments)
      all.insert(all.end(), of.parameters.values.data + s.offset, of.parameters.values.data + s.offset + s.size());
    return all;
  };
  for (const segment& s : m.parameters.segments)
    for (index_t i = 0; i < s.size(); ++i)
      m.parameters.values.data[s.offset + i] += 0.01f * static_cast<float>(i % 7);
  const scratch_folder folder;
  save_peft(m, folder / "adapter");
  const auto file = safetensors_file::open(folder / "adapter" + "/adapter_model.safetensors");
  CHECK(file.find("base_model.model.features.lora_A.weight")->shape == std::vector<index_t>{2, 3, 3, 2});
  CHECK(file.find("base_model.model.features.lora_B.weight")->shape == std::vector<index_t>{2, 2, 1, 1});
  model<small_network<B>> again(network, 7);
  put_adapter(again, read_peft(folder / "adapter", own_names(again.network)));
  CHECK(values(m) == values(again));
}

TEST_CASE("what PEFT's files cannot hold is not written") {
  const auto config = read_bert_config_of(golden_path("bert"));
  const auto names = hugging_face_names(config);
  const scratch_folder folder;
  const auto refusal = [&](const adapter_data& a) {
    return message_of<error>([&] { write_peft(a, names, folder / "out"); });
  };
  adapter_data a;
  CHECK_THAT(refusal(a), Contains("expected one method that PEFT has") && Contains("found none"));
  a.decorations["layer.0.feed_forward"]["bottleneck"] = {};
  CHECK_THAT(refusal(a), Contains("found bottleneck"));
  a = read_peft(std::string(GRAFT_TEST_DATA) + "/peft_folders/bert.lora", config);
  a.decorations["layer.0.attention.key"]["ia3"] = {};
  CHECK_THAT(refusal(a), Contains("found ia3, lora"));
  a = read_peft(std::string(GRAFT_TEST_DATA) + "/peft_folders/bert.lora", config);
  a.tensors["layer.1.attention.key.bias"] = make_matrix<float>(1, 16).matrix;
  CHECK_THAT(refusal(a), Contains("expected biases of all modules"));
  a = read_peft(std::string(GRAFT_TEST_DATA) + "/peft_folders/bert.ia3", config);
  a.decorations["layer.1.attention.key"]["ia3"].form.clear();
  CHECK_THAT(refusal(a), Contains("layer.1.attention.key: ia3: expected to be told"));
  CHECK(!std::filesystem::exists(folder / "out"));
}

TEST_CASE("a part of a head is named as the module it is") {
  const auto config = read_bert_config_of(golden_path("roberta"));
  const auto whole = read_peft(std::string(GRAFT_TEST_DATA) + "/peft_folders/roberta.lora", config);
  const scratch_folder folder;
  const auto written = [&](const adapter_data& a) {
    write_peft(a, hugging_face_names(config), folder / "out");
    return read_json(folder / "out" + "/adapter_config.json");
  };
  nlohmann::json json = written(whole);
  CHECK(json["modules_to_save"] == nlohmann::json{"classifier"});
  CHECK(json["task_type"] == "SEQ_CLS");
  adapter_data part = whole;
  part.tensors.erase("head.dense.weight");
  part.tensors.erase("head.dense.bias");
  json = written(part);
  CHECK(json["modules_to_save"] == nlohmann::json{"classifier.out_proj"});
  CHECK(json["task_type"].is_null());
  CHECK(read_peft(folder / "out", config).tensors.size() == part.tensors.size());
}

namespace {

struct prompt_alone {
  static constexpr recipe rules{on(at::word, prompt{.tokens = 2})};
};

}  // namespace

// PEFT's class for classifying with prompts finds its head in the adapter's file or not at all.
TEST_CASE("a prompt takes the head along, trained or not") {
  const auto model = bert_classifier<cpu<double>, prompt_alone>::load(golden_path("roberta"));
  const scratch_folder folder;
  save_peft(model, folder / "out");
  const auto file = safetensors_file::open(folder / "out" + "/adapter_model.safetensors");
  CHECK(file.entries().size() == 5);
  CHECK(file.find("base_model.classifier.out_proj.bias"));
  CHECK(read_json(folder / "out" + "/adapter_config.json")["task_type"] == "SEQ_CLS");
  CHECK_THROWS_WITH(write_peft(data_of(model), hugging_face_names(model.config), folder / "none"),
                    Contains("expected the whole head") &&
                        Contains("found none of classifier.dense, classifier.out_proj"));
}

TEST_CASE("what a configuration says there is must be there, and nothing else") {
  const auto without = [](const std::string& ending) {
    const spoilt_folder folder;
    folder.tensors([&](auto& entries) {
      std::erase_if(entries, [&](const auto& e) { return e.name.ends_with(ending); });
    });
    return folder.refusal();
  };
  CHECK_THAT(without("classifier.weight"), Contains("expected what \"modules_to_save\" names") &&
                                               Contains("found none of classifier"));
  const spoilt_folder biases;
  biases.config([](auto& json) { json["bias"] = "lora_only"; });
  biases.tensors([](auto& entries) {
    std::erase_if(entries, [](const auto& e) { return e.name.ends_with("classifier.bias"); });
  });
  CHECK_THAT(biases.refusal(), Contains("expected biases as \"bias\" says"));
  const spoilt_folder more("bert.lora_bias");
  more.config([](auto& json) { json["lora_bias"] = false; });
  CHECK_THAT(more.refusal(), Contains("expected tensors of this model's modules") &&
                                 Contains("lora_B.bias"));
}

}  // namespace graft_test
