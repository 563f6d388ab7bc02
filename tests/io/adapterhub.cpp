// SPDX-License-Identifier: MIT
#include <graft/io/adapterhub.hpp>
#include <graft/io/bert_config.hpp>
#include <graft/io/json.hpp>
#include <graft/io/torch_file.hpp>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

#include <cmath>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace {

namespace fs = std::filesystem;
using graft::adapter_data;
using graft::bert_config;
using graft::read_adapterhub;
using graft_test::scratch_folder;
using nlohmann::json;

std::string hub_path(const std::string& name) {
  return std::string(GRAFT_TEST_DATA) + "/adapterhub/" + name;
}

bert_config config_of(const std::string& model = "bert") {
  const std::string file = std::string(GRAFT_TEST_DATA) + "/models/" + model + "/config.json";
  return graft::read_bert_config(graft::read_json(file), file);
}

template <class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const graft::error& e) {
    return e.what();
  }
  return "no error";
}
bool says(const std::string& message, std::string_view what) {
  INFO(message);
  const bool found = message.find(what) != std::string::npos;
  CHECK(found);
  return found;
}

// What is said of a golden folder with another adapter_config.json.
std::string with_config(const std::string& name, const std::function<void(json&)>& change,
                        const char* file = "adapter_config.json") {
  const scratch_folder folder;
  fs::copy(hub_path(name), folder / "a", fs::copy_options::recursive);
  auto config = graft::read_json(fs::path(folder / "a") / file);
  change(config);
  folder.write(std::string("a/") + file, config.dump());
  return error_of([&] { read_adapterhub(folder / "a", config_of()); });
}
std::string with_option(const std::string& name, const char* key, const json& value) {
  return with_config(name, [&](json& config) { config["config"][key] = value; });
}

// What is said of a golden folder whose tensors are others.
template <class File>
std::string with_tensors_of(const File& file, const scratch_folder& folder,
                            const std::function<void(std::vector<graft::tensor_entry>&)>& change) {
  auto entries = file.entries();
  change(entries);
  graft::write_safetensors(folder / "a/adapter.safetensors", entries);
  return error_of([&] { read_adapterhub(folder / "a", config_of()); });
}
std::string with_tensors(const std::string& name,
                         const std::function<void(std::vector<graft::tensor_entry>&)>& change) {
  const scratch_folder folder;
  fs::copy(hub_path(name), folder / "a");
  if (fs::exists(folder / "a/adapter.safetensors"))
    return with_tensors_of(graft::safetensors_file::open(folder / "a/adapter.safetensors"), folder,
                           change);
  return with_tensors_of(graft::torch_file::open(folder / "a/pytorch_adapter.bin"), folder, change);
}

}  // namespace

TEST_CASE("an option that graft does not compute is refused by its name") {
  for (const auto& [name, key, value] : std::vector<std::tuple<const char*, const char*, json>>{
           {"bert_seq_bn", "inv_adapter", "nice"},
           {"bert_seq_bn", "residual_before_ln", "later"},
           {"bert_seq_bn", "scaling", "twice"},
           {"bert_seq_bn", "reduction_factor", 0},
           {"bert_seq_bn", "reduction_factor", json{{"0", 4}}},
           {"bert_seq_bn", "non_linearity", "glu"},
           {"bert_seq_bn", "leave_out", json{3}},
           {"bert_seq_bn", "architecture", "reft"},
           {"bert_par_bn", "original_ln_after", false},
           {"bert_double_seq_bn", "residual_before_ln", "post_add"},
           {"bert_compacter", "use_gating", true},
           {"bert_compacter", "ln_before", true},
           {"bert_compacter", "scaling", "learned"},
           {"bert_lora", "use_dora", true},
           {"bert_lora", "vera_d", 0.1},
           {"bert_lora", "composition_mode", "other"},
           {"bert_lora", "attn_matrices", json{"o"}},
           {"bert_lora", "r", 0},
           {"bert_ia3", "alpha", 2},
           {"bert_ia3", "use_gating", true},
           {"bert_prefix_flat", "encoder_prefix", false},
           {"bert_prompt", "combine", "prefix_after_bos"}}) {
    const std::string message = with_option(name, key, value);
    INFO(name);
    says(message, std::string("adapter_config.json: config: \"") + key + "\": ");
    says(message, "expected");
  }
  says(with_config("bert_mam",
                   [](json& config) { config["config"]["configs"][0]["non_linearity"] = "relu"; }),
       "config: configs[0]: \"non_linearity\": expected \"tanh\", found the string \"relu\"");
  says(with_config("bert_seq_bn", [](json& config) { config["config"] = "pfeiffer"; }),
       "expected an object, found the string \"pfeiffer\"");
}

TEST_CASE("an adapter of another model is refused") {
  const auto other = [](const char* key, const json& value) {
    return with_config("bert_seq_bn", [&](json& config) { config[key] = value; });
  };
  says(other("model_type", "roberta"), "\"model_type\": expected bert, found \"roberta\"");
  says(other("hidden_size", 768), "\"hidden_size\": expected 16, found 768");
  bert_config before = config_of();
  before.family = graft::bert_family::roberta_prelayernorm;
  says(error_of([&] { read_adapterhub(hub_path("bert_seq_bn"), before); }), "roberta-prelayernorm");
  bert_config lower = config_of();
  lower.layers = 2;
  says(error_of([&] { read_adapterhub(hub_path("bert_seq_bn"), lower); }),
       "expected the tensors that its configuration asks for, found bert.encoder.layer.2.");
}

TEST_CASE("tensors that are missing, too many or of other sizes are named") {
  says(
      with_tensors("bert_seq_bn", [](auto& entries) { entries.pop_back(); }),
      "expected a tensor \"bert.encoder.layer.2.output.adapters.a.adapter_up.weight\", found none");
  says(with_tensors("bert_seq_bn",
                    [](auto& entries) {
                      entries.push_back(entries.front());
                      entries.back().name = "bert.invertible_adapters.a.F.0.bias";
                    }),
       "found bert.invertible_adapters.a.F.0.bias");
  says(with_tensors("bert_seq_bn",
                    [](auto& entries) { std::swap(entries[1].shape[0], entries[1].shape[1]); }),
       "adapter_down.0.weight\": expected numbers [4,16], found F32 [16,4]");
  says(with_option("bert_seq_bn", "reduction_factor", 8),
       "expected numbers [2,16], found F32 [4,16]");
  says(with_tensors("bert_seq_bn", [](auto& entries) { entries[0].type = graft::dtype::i32; }),
       "expected numbers [4], found I32 [4]");
  says(with_tensors("bert_seq_bn",
                    [](auto& entries) {
                      entries.push_back(entries.front());
                      entries.back().name.erase(0, 5);  // "bert."
                    }),
       "encoder.layer.0.output.adapters.a.adapter_down.0.bias\", found two");
  // What a module has under two names is one.
  says(with_tensors("bert_norms",
                    [](auto& entries) {
                      for (auto& e : entries)
                        if (e.name.ends_with("0.output.adapters.a.adapter_down.0.weight"))
                          e.data = entries.back().data;
                    }),
       "expected the values of");
}

TEST_CASE("a file of a bare encoder, without its prefix, is read as the others") {
  const bert_config c = config_of();
  const scratch_folder folder;
  fs::copy(hub_path("bert_seq_bn"), folder / "a");
  const auto file = graft::safetensors_file::open(folder / "a/adapter.safetensors");
  auto entries = file.entries();
  for (auto& e : entries)
    e.name.erase(0, 5);
  graft::write_safetensors(folder / "a/adapter.safetensors", entries);
  fs::remove(folder / "a/head_config.json");
  const adapter_data bare = read_adapterhub(folder / "a", c);
  const adapter_data whole = read_adapterhub(hub_path("bert_seq_bn"), c);
  CHECK(bare.task == std::nullopt);
  CHECK(bare.tensors.size() + 2 == whole.tensors.size());
  for (const auto& [path, m] : bare.tensors)
    CHECK(graft::values_of<float>(m) == graft::values_of<float>(whole.tensors.at(path)));
}

TEST_CASE("heads of other kinds are refused by what tells them") {
  const auto flexible = [](const char* key, const json& value) {
    return with_config(
        "bert_flexible", [&](json& config) { config["config"][key] = value; }, "head_config.json");
  };
  says(flexible("head_type", "multilabel_classification"),
       "\"head_type\": expected classification");
  says(flexible("activation_function", "relu"),
       "\"activation_function\": expected \"tanh\" on bert");
  says(flexible("layers", 3), "\"layers\": expected 2 on bert, found 3");
  says(flexible("use_pooler", true), "\"layers\": expected 1 on bert, found 2");
  says(flexible("bias", false), "\"bias\": expected true");
  says(flexible("label2id", {{"a", 0}, {"b", 1}, {"c", 1}}),
       "\"label2id\": expected the numbers 0 to 2");
  says(with_config(
           "bert_seq_bn", [](json& config) { config["model_class"] = "BertForMaskedLM"; },
           "head_config.json"),
       "\"model_class\": expected one for sequences, tokens or answers, found \"BertForMaskedLM\"");
}

TEST_CASE("labels come in the order of their numbers") {
  const scratch_folder folder;
  fs::copy(hub_path("bert_flexible"), folder / "a");
  auto config = graft::read_json(folder / "a/head_config.json");
  config["config"]["label2id"] = {{"a", 2}, {"b", 0}, {"c", 1}};
  folder.write("a/head_config.json", config.dump());
  CHECK(read_adapterhub(folder / "a", config_of()).labels ==
        std::vector<std::string>{"b", "c", "a"});
}

TEST_CASE("a fusion with other arithmetic is refused by its option") {
  for (const char* key : {"query_before_ln", "residual_before", "temperature"})
    says(with_config(
             "bert_fusion", [&](json& config) { config["config"][key] = true; },
             "a,b/adapter_fusion_config.json"),
         std::string("\"") + key + "\": expected false, found true");
  says(with_config(
           "bert_fusion",
           [](json& config) {
             config["adapter_names"] = {"a", "../b"};
           },
           "a,b/adapter_fusion_config.json"),
       "expected the name of a folder beside it, found \"../b\"");
  says(with_config(
           "bert_fusion", [](json& config) { config["adapter_setup"]["type"] = "Stack"; },
           "adapter_setup.json"),
       "\"adapter_setup\": expected a Fuse, found \"Stack\"");
  says(with_config(
           "bert_fusion", [](json& config) { config["config"]["use_gating"] = true; },
           "a/adapter_config.json"),
       "expected a bottleneck without gate");
}

TEST_CASE("LoRA of a version that scaled by mistake is read as it was trained") {
  const auto alpha_of = [](const char* version) {
    const scratch_folder folder;
    fs::copy(hub_path("bert_lora"), folder / "a");
    auto config = graft::read_json(folder / "a/adapter_config.json");
    config["version"] = version;
    folder.write("a/adapter_config.json", config.dump());
    const adapter_data a = read_adapterhub(folder / "a", config_of());
    CHECK(a.notes.size() ==
          (a.decorations.at("layer.0.attention.query").at("lora").numbers.find("alpha") == 2.0));
    return a.decorations.at("layer.0.attention.query").at("lora").numbers.find("alpha");
  };
  CHECK(alpha_of("adapters.1.0.1") == 2.0);  // r
  CHECK(alpha_of("adapters.1.1.0") == 6.0);
  CHECK(alpha_of("adapters.1.10.0") == 6.0);
}

TEST_CASE("PEFT's folders are no AdapterHub folders") {
  CHECK(graft::is_adapterhub(hub_path("bert_seq_bn")));
  CHECK(graft::is_adapterhub(hub_path("bert_fusion")));
  CHECK(graft::is_adapterhub(hub_path("bert_fusion/a,b")));
  CHECK_FALSE(graft::is_adapterhub(std::string(GRAFT_TEST_DATA) + "/models/bert/lora_peft"));
  CHECK_FALSE(graft::is_adapterhub(std::string(GRAFT_TEST_DATA) + "/models/bert"));
}

TEST_CASE("what AdapterHub's files cannot hold is not written") {
  const bert_config c = config_of();
  const auto refused = [&](const std::string& name,
                           const std::function<void(adapter_data&)>& change) {
    const scratch_folder folder;
    adapter_data a = read_adapterhub(hub_path(name), c);
    change(a);
    const std::string message = error_of([&] { graft::write_adapterhub(a, c, folder / "b", "a"); });
    CHECK_FALSE(fs::exists(folder / "b"));
    return message;
  };
  says(refused("bert_lora", [](auto& a) { a.decorations["layer.1.attention.query"]["dora"]; }),
       "expected methods that AdapterHub has, found dora");
  says(refused("bert_lora", [](auto& a) { a.decorations.erase("layer.1.attention.query"); }),
       "expected the options and layers of attention.query, found others");
  says(refused("bert_lora",
               [](auto& a) {
                 a.decorations["layer.1.attention.query"]["lora"].numbers.set("alpha", 3);
               }),
       "layer.1.attention.query: expected the options of the other layers");
  says(refused("bert_lora",
               [](auto& a) {
                 a.tensors["layer.0.attention.query.weight"] = a.tensors.begin()->second;
               }),
       "expected an adapter's values and a head's, found layer.0.attention.query.weight");
  says(refused("bert_lora", [](auto& a) { a.tensors.erase("layer.2.attention.value.lora.b"); }),
       "expected values of layer.2.attention.value.lora.b, found none");
  says(refused("bert_seq_bn",
               [](auto& a) {
                 a.decorations["layer.0.feed_forward_join.adapter"]["bottleneck"].form.clear();
               }),
       "found others");
  says(refused("bert_seq_bn",
               [](auto& a) {
                 for (auto& [path, methods] : a.decorations)
                   methods.at("bottleneck").numbers.set("inner", 4);
               }),
       "expected two matrices, found three");
  says(refused("bert_ia3",
               [](auto& a) {
                 for (auto& [path, methods] : a.decorations)
                   methods.at("ia3").form["place"] = "input";
               }),
       "found place input");
  says(refused("bert_lora", [](auto& a) { a.tasks = {{"t", {"0"}}}; }), "several tasks");
  says(refused("bert_lora",
               [](auto& a) {
                 a.labels = {"x", "y", "x"};
               }),
       "expected 3 labels, each another, found 2 in 3");
  says(refused("bert_tagging",
               [](auto& a) { a.tensors["pooler.weight"] = a.tensors.begin()->second; }),
       "expected an adapter's values and a head's, found pooler.weight");
  says(refused("bert_fusion",
               [](auto& a) {
                 a.tensors.erase("layer.0.feed_forward_join.adapter.fusion.query.weight");
               }),
       "expected a fusion, the one composition");
  says(refused("bert_fusion", [](auto& a) { a.decorations["layer.0.attention.query"]["lora"]; }),
       "expected a fusion alone, found");
  const adapter_data a = read_adapterhub(hub_path("bert_lora"), c);
  says(error_of([&] { graft::write_adapterhub(a, c, "nowhere", "a.b"); }),
       "expected a name without");
}

TEST_CASE("an update scaled by the root of its rank is written with the alpha that scales alike") {
  const bert_config c = config_of();
  const scratch_folder folder;
  adapter_data a = read_adapterhub(hub_path("bert_lora"), c);
  for (auto& [path, methods] : a.decorations)
    methods.at("lora").numbers.set("over_root", 1);
  graft::write_adapterhub(a, c, folder / "b", "a");
  const auto again = read_adapterhub(folder / "b", c);
  CHECK(again.decorations.at("layer.0.attention.query").at("lora").numbers.find("alpha").value() ==
        Approx(6 * std::sqrt(2.0)));
}
