// SPDX-License-Identifier: MIT
// io/adapter.hpp
#include <graft/io/adapter.hpp>
#include <graft/io/json.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/trained_values.hpp"

namespace graft_test {

namespace {

using F = cpu<float>;
using Catch::Matchers::Contains;

struct low_rank_alone {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic, .alpha = 16})};
};
struct low_rank_static {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 4, .alpha = 16}),
                                on(at::head, train{})};
};
struct low_rank_by_root {
  static constexpr recipe rules{
      on(at::query | at::value,
         lora{.rank = dynamic, .alpha = 16, .scaling = lora_scaling::over_root}),
      on(at::head, train{})};
};
struct houlsby_with_relu {
  static constexpr recipe rules{on(at::attention | at::feed_forward, bottleneck{.width = 48}),
                                on(at::head, train{})};
};
struct low_rank_and_bottleneck {
  static constexpr recipe rules{on(at::query, lora{.rank = dynamic}),
                                on(at::query, bottleneck{.width = 3}), on(at::head, train{})};
};
struct biases_alone {
  static constexpr recipe rules{on(at::everything, train{biases})};
};

template <class Model>
void give_values(Model& model) {
  random_stream random(11);
  for (const segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] = static_cast<float>(0.2 * random.normal());
}

// A base under tuning T with random values in the trained part.
template <class T>
bert_classifier<F, T> model_with_values(const decoration_numbers& numbers, const std::string& base = "bert",
                              bool new_head = true) {
  load_options options{.seed = 5, .numbers = numbers};
  if (new_head)
    options.label_names = {"bad", "good"};
  options.replace_head = new_head;
  auto model = bert_classifier<F, T>::load(golden_path(base), options);
  give_values(model);
  return model;
}

template <class T>
void round_trip(const decoration_numbers& numbers, const std::string& base = "bert",
                bool new_head = true) {
  const scratch_folder folder;
  const auto model = model_with_values<T>(numbers, base, new_head);
  save_adapter(model, folder / "adapter", identify_base(golden_path(base)), "word");
  const auto again = load_with_adapter<F, T>(golden_path(base), folder / "adapter");
  CHECK(again.labels == model.labels);
  CHECK(trained_values(again) == trained_values(model));
  CHECK(golden_logits(again) == golden_logits(model));
  CHECK(read_adapter(folder / "adapter").strategy == "word");
}

struct low_rank_no_head {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic, .alpha = 16})};
};

// A saved adapter that can be spoilt.
struct saved_adapter {
  scratch_folder folder;
  std::string path = folder / "adapter";

  saved_adapter() {
    save_adapter(model_with_values<low_rank_static>({}), path, identify_base(golden_path("bert")));
  }
  // Rewrites the tensors.
  void tensors(const std::function<void(std::map<std::string, tensor_entry>&)>& change) const {
    const auto file = std::filesystem::path(path) / "graft_adapter.safetensors";
    const auto from = safetensors_file::open(file);
    std::map<std::string, tensor_entry> all;
    for (const tensor_entry& entry : from.entries())
      all[entry.name] = entry;
    change(all);
    std::vector<tensor_entry> entries;
    for (auto& [name, entry] : all) {
      entry.name = name;
      entries.push_back(entry);
    }
    write_safetensors(file, entries);
  }
  void json(const std::function<void(nlohmann::json&)>& change) const {
    const auto file = std::filesystem::path(path) / "graft_adapter.json";
    nlohmann::json all = read_json(file);
    change(all);
    std::ofstream(file) << all.dump();
  }
  std::string refusal() const {
    return message_of<checkpoint_error>(
        [&] { load_with_adapter<F, low_rank_static>(golden_path("bert"), path); });
  }
};

}  // namespace

TEST_CASE("an adapter that is saved and loaded computes the same bits") {
  SECTION("low-rank updates of a rank decided at run time") {
    decoration_numbers numbers = with_rank(3, 7);
    numbers.set("dropout", 0.25);
    round_trip<strategies::lora_query_value>(numbers);
  }
  SECTION("… whose A no file holds, of another rank than the recipe's") {
    round_trip<strategies::lora_fa>(with_rank(3, 7));
  }
  SECTION("DoRA, whose lengths start from the base") { round_trip<strategies::dora>(with_rank(3, 7)); }
  SECTION("Houlsby") { round_trip<strategies::houlsby>(with_width(5)); }
  SECTION("Pfeiffer") { round_trip<strategies::pfeiffer>(with_width(7)); }
  SECTION("everything") { round_trip<strategies::full>({}); }
  SECTION("a tuning that keeps the head of the base") {
    round_trip<low_rank_alone>(with_rank(2, 4), "bert", false);
  }
  SECTION("biases alone, over a base without a head") {
    round_trip<biases_alone>({}, "bert_bare", false);
  }
}

TEMPLATE_TEST_CASE("what was taken out of the weights is saved as the update of the weights themselves",
                   "", strategies::pissa, strategies::olora) {
  const scratch_folder folder;
  const auto model = model_with_values<TestType>(with_rank(3, 6));
  save_adapter(model, folder.path.string(), identify_base(golden_path("bert")));
  const auto plain = load_with_adapter<F, strategies::lora_query_value>(golden_path("bert"),
                                                                        folder.path.string());
  const auto again = load_with_adapter<F, TestType>(golden_path("bert"), folder.path.string());
  const auto expected = golden_logits(model), found = golden_logits(plain);
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    CHECK(found[i] == Approx(expected[i]).margin(1e-4));
  CHECK(golden_logits(again) == found);
  CHECK(plain.parameters.segments[0].rows == 6);
}

TEST_CASE("an adapter file holds the trained parameters under their paths, and no other") {
  const saved_adapter saved;
  const auto file =
      safetensors_file::open(std::filesystem::path(saved.path) / "graft_adapter.safetensors");
  std::vector<std::string> found, expected{"head.classifier.bias", "head.classifier.weight"};
  for (const tensor_entry& entry : file.entries())
    found.push_back(entry.name);
  for (const char* layer : {"0", "1", "2"})
    for (const char* part : {"query.lora.a", "query.lora.b", "value.lora.a", "value.lora.b"})
      expected.push_back(std::string("layer.") + layer + ".attention." + part);
  std::sort(expected.begin(), expected.end());
  CHECK(found == expected);
  CHECK(file.find("layer.1.attention.query.lora.a")->shape == std::vector<index_t>{4, 16});
  CHECK(file.find("layer.1.attention.query.lora.a")->type == dtype::f32);
}

TEST_CASE("an adapter belongs to the base it was trained on") {
  const saved_adapter saved;
  const std::string message = message_of<checkpoint_error>(
      [&] { load_with_adapter<F, low_rank_static>(golden_path("bert_f16"), saved.path); });
  CHECK_THAT(message, Contains("graft_adapter.json: expected the base bert") &&
                          Contains("bert_f16") &&
                          Contains(identify_base(golden_path("bert")).fingerprint) &&
                          Contains(identify_base(golden_path("bert_f16")).fingerprint));
  CHECK(identify_base(golden_path("bert") + "/").name == "bert");
}

TEST_CASE("an adapter of another recipe is refused") {
  const scratch_folder folder;
  const auto save = [&](const auto& model) {
    save_adapter(model, folder / "adapter", identify_base(golden_path("bert")));
  };
  const auto refusal = [&]<class T>(T) {
    return message_of<checkpoint_error>(
        [&] { load_with_adapter<F, T>(golden_path("bert"), folder / "adapter"); });
  };
  SECTION("other places") {
    save(model_with_values<strategies::lora_query_value>(with_rank(4, 8)));
    CHECK_THAT(refusal(strategies::houlsby{}),
               Contains("graft_adapter.json: expected the recipe") && Contains("\"lora\"") &&
                   Contains("\"bottleneck\""));
  }
  SECTION("one rule less") {
    save(model_with_values<strategies::lora_query_value>(with_rank(4, 8)));
    CHECK_THAT(refusal(low_rank_alone{}), Contains("expected the recipe"));
  }
  SECTION("another rank is no other recipe") {
    save(model_with_values<strategies::lora_query_value>(with_rank(4, 8)));
    CHECK(refusal(low_rank_static{}) == "no exception");
  }
}

namespace {

template <auto What>
struct in_joins {
  static constexpr recipe rules{on(at::feed_forward_join, What), on(at::head, train{})};
};
using an_adapter_each = in_joins<compose::by_task{.each = bottleneck{.width = 4}}>;
const std::vector<task> two_tasks{{"mood", {"bad", "good"}}, {"topic", {"x", "y", "z"}}};

// One text for each task.
template <class Model>
std::vector<float> logits_of_tasks(const Model& model) {
  token_batch batch;
  for (const std::uint32_t task : {1u, 0u})
    batch.append(std::vector<std::int32_t>{2, 7, 9, 3}, {}, task, 0, task);
  host_workspace memory;
  const auto y = model.predict(batch, {memory, batch.rows});
  return {y.data, y.data + y.size()};
}

}  // namespace

TEST_CASE("a model of several tasks is saved and loaded with their names and heads") {
  const scratch_folder folder;
  load_report report;
  auto model = load_task_classifier<F, an_adapter_each>(golden_path("bert"), two_tasks,
                                                        {.seed = 5}, &report);
  CHECK(report.fresh == std::vector<std::string>{
                            "head.0.classifier.weight", "head.0.classifier.bias",
                            "head.1.classifier.weight", "head.1.classifier.bias"});
  CHECK(std::count(report.unused.begin(), report.unused.end(), "classifier.weight") == 1);
  give_values(model);
  const base_identity base = identify_base(golden_path("bert"));
  save_adapter(model, folder / "adapter", base);
  const auto again =
      load_tasks_with_adapter<F, an_adapter_each>(golden_path("bert"), folder / "adapter");
  CHECK(again.labels == model.labels);
  REQUIRE(again.tasks.size() == 2);
  CHECK(again.tasks[1].name == "topic");
  CHECK(again.tasks[1].labels == two_tasks[1].labels);
  CHECK(trained_values(again) == trained_values(model));
  CHECK(logits_of_tasks(again) == logits_of_tasks(model));

  const auto with_one_head = message_of<checkpoint_error>([&] {
    load_with_adapter<F, an_adapter_each>(golden_path("bert"), folder / "adapter");
  });
  CHECK_THAT(with_one_head, Contains("graft_adapter.json: expected the adapter of a model with one "
                                     "head, found 2 tasks"));
  save_adapter(model_with_values<low_rank_static>({}), folder / "other", base);
  const auto without_tasks = message_of<checkpoint_error>([&] {
    load_tasks_with_adapter<F, low_rank_static>(golden_path("bert"), folder / "other");
  });
  CHECK_THAT(without_tasks, Contains("expected \"tasks\", found none"));
}

TEST_CASE("several decorations of one layer have their numbers side by side") {
  const scratch_folder folder;
  const auto model = model_with_values<low_rank_and_bottleneck>({{"rank", 3}, {"width", 5}});
  save_adapter(model, folder / "adapter", identify_base(golden_path("bert")));
  const auto again = load_with_adapter<F, low_rank_and_bottleneck>(golden_path("bert"), folder / "adapter");
  CHECK(trained_values(again) == trained_values(model));
  CHECK(golden_logits(again) == golden_logits(model));
}

TEST_CASE("a whole model of several tasks keeps its heads, and a classifier ignores them") {
  const scratch_folder folder;
  auto model = load_task_classifier<F, strategies::full>(golden_path("bert"), two_tasks);
  give_values(model);
  save_pretrained(model, folder / "model", "BertModel", model.labels);
  load_report report;
  const auto again =
      load_task_classifier<F, strategies::full>(folder / "model", two_tasks, {}, &report);
  CHECK(report.fresh.empty());
  CHECK(trained_values(again) == trained_values(model));
  auto turned = two_tasks;
  std::swap(turned[0], turned[1]);
  std::swap(turned[0].labels, turned[1].labels);
  const auto other_order = message_of<checkpoint_error>(
      [&] { load_task_classifier<F, strategies::full>(folder / "model", turned); });
  CHECK_THAT(other_order, Contains("expected the labels of the tasks, topic/bad") &&
                              Contains("found mood/bad"));
  const auto alone = load_classifier<F, strategies::full>(folder / "model", {}, &report);
  CHECK(std::count(report.unused.begin(), report.unused.end(), "task_heads.1.classifier.bias") == 1);
}

TEST_CASE("recipes are equal in what the numbers of a decoration do not hold") {
  using detail::same_places;
  const auto low_rank = recipe_json<strategies::lora_query_value>();
  CHECK(same_places(low_rank, recipe_json<low_rank_static>()));
  CHECK_FALSE(same_places(low_rank, recipe_json<low_rank_by_root>()));
  const auto houlsby = recipe_json<strategies::houlsby>();
  CHECK(same_places(houlsby, houlsby));
  CHECK_FALSE(same_places(houlsby, recipe_json<houlsby_with_relu>()));
  CHECK_FALSE(same_places(houlsby, recipe_json<strategies::parallel>()));
  const auto two = recipe_json<strategies::top2>();
  auto one = nlohmann::json::parse(two);
  one[0]["top"] = 1;
  CHECK_FALSE(same_places(two, one.dump()));
  CHECK_FALSE(same_places(recipe_json<biases_alone>(), recipe_json<strategies::full>()));
  const auto equal = recipe_json<in_joins<compose::average{}>>();
  CHECK(same_places(equal, nlohmann::json::parse(equal).dump()));
  CHECK_FALSE(same_places(equal, recipe_json<in_joins<compose::average{.weights = {1, 3}}>>()));
  const auto halves = recipe_json<in_joins<compose::split{}>>();
  CHECK_FALSE(same_places(halves, recipe_json<in_joins<compose::split{.lengths = {2}}>>()));
}

TEST_CASE("tensors that do not fit are refused by their names") {
  const saved_adapter saved;
  SECTION("one is missing") {
    saved.tensors([](auto& all) { all.erase("layer.2.attention.value.lora.b"); });
    CHECK_THAT(saved.refusal(), Contains("graft_adapter.safetensors") &&
                                    Contains("layer.2.attention.value.lora.b: missing"));
  }
  SECTION("one is too many") {
    saved.tensors([](auto& all) {
      all["layer.3.attention.value.lora.b"] = all.at("layer.2.attention.value.lora.b");
    });
    CHECK_THAT(saved.refusal(), Contains("layer.3.attention.value.lora.b: no place in this model"));
  }
  SECTION("one has another shape") {
    saved.tensors([](auto& all) { all.at("layer.0.attention.query.lora.a").shape = {16, 4}; });
    CHECK_THAT(saved.refusal(),
               Contains("layer.0.attention.query.lora.a: expected [4, 16], found [16, 4]"));
  }
  SECTION("one holds integers") {
    saved.tensors([](auto& all) { all.at("head.classifier.bias").type = dtype::i32; });
    CHECK_THAT(saved.refusal(), Contains("head.classifier.bias") && Contains("found [1, 2] I32"));
  }
}

TEST_CASE("numbers that do not fit are refused with the place they are for") {
  const saved_adapter saved;
  const char* place = "layer.1.attention.query";
  const auto set = [&](const char* key, const nlohmann::json& value) {
    saved.json([&](auto& json) { json["decorations"][place]["lora"][key] = value; });
    return saved.refusal();
  };
  SECTION("a static rank is part of the type") {
    CHECK_THAT(set("rank", 8), Contains("graft_adapter.json") && Contains(place) &&
                                   Contains("lora.rank") && Contains("expected 4, found 8"));
  }
  SECTION("a rate is below 1") {
    CHECK_THAT(set("dropout", 1.0),
               Contains(place) && Contains("dropout: expected at least 0"));
  }
  SECTION("a rank is a number") {
    CHECK_THAT(set("rank", "four"), Contains("graft_adapter.json: \"rank\": expected a number"));
  }
  SECTION("a rank is whole") {
    CHECK_THAT(set("rank", 2.5), Contains(place) && Contains("rank: expected a whole number"));
  }
  SECTION("a number is one of the decoration's") {
    CHECK_THAT(set("rnak", 4), Contains(place) && Contains("no number \"rnak\""));
  }
  SECTION("a method is that of the recipe") {
    saved.json([&](auto& json) {
      auto& at_place = json["decorations"][place];
      at_place["bottleneck"] = at_place["lora"];
      at_place.erase("lora");
    });
    CHECK_THAT(saved.refusal(), Contains("expected the numbers of lora at layer.1.attention.query"));
  }
  SECTION("a place has its numbers") {
    saved.json([&](auto& json) { json["decorations"].erase(place); });
    CHECK_THAT(saved.refusal(),
               Contains("expected the numbers of lora at layer.1.attention.query, found none"));
  }
}

TEST_CASE("a description that is none is refused") {
  const saved_adapter saved;
  const auto refusal = [&](const char* key, const nlohmann::json& value) {
    saved.json([&](auto& json) { json[key] = value; });
    return saved.refusal();
  };
  SECTION("another format") {
    CHECK_THAT(refusal("format", 2), Contains("\"format\": expected 1, found 2"));
  }
  SECTION("no rules") { CHECK_THAT(refusal("recipe", 1), Contains("expected the recipe")); }
  SECTION("rules of another kind") {
    CHECK_THAT(refusal("recipe", {1, 2}), Contains("expected the recipe"));
    CHECK_THAT(refusal("recipe", {{{"decoration", {{"method", 7}}}}, {{"sites", 1}}}),
               Contains("expected the recipe"));
  }
  SECTION("no numbers") { CHECK_THAT(refusal("decorations", 4), Contains("found none")); }
  SECTION("no base") { CHECK_THAT(refusal("base", "bert"), Contains("graft_adapter.json")); }
  SECTION("no labels") { CHECK_THAT(refusal("labels", {1, 2}), Contains("\"labels\"[0]")); }
  SECTION("no file") {
    std::filesystem::remove(std::filesystem::path(saved.path) / "graft_adapter.json");
    CHECK_THAT(saved.refusal(), Contains("graft_adapter.json"));
  }
}

TEST_CASE("a model that refuses a trained part is as it was") {
  const saved_adapter saved;
  saved.tensors([](auto& all) { all.erase("head.classifier.bias"); });
  saved.json([](auto& json) {
    for (auto& at_place : json["decorations"])
      at_place["lora"]["alpha"] = 99;
  });
  auto model = model_with_values<low_rank_static>({});
  for (float* x = model.parameters.values.data; x < model.parameters.values.data + 20; ++x)
    *x += 1;
  const auto values = trained_values(model);
  const auto logits = golden_logits(model);
  CHECK_THROWS_AS(put_adapter(model, read_adapter(saved.path)), checkpoint_error);
  CHECK(trained_values(model) == values);
  CHECK(golden_logits(model) == logits);
}

TEST_CASE("an adapter says what its model is asked, and brings its head") {
  const scratch_folder folder;
  auto model = load_classifier<F, low_rank_static>(
      golden_path("bert"), {.task = task_kind::token_classification, .label_names = {"O", "B-X", "I-X"}});
  give_values(model);
  save_adapter(model, folder / "adapter", identify_base(golden_path("bert")));
  CHECK(read_adapter(folder / "adapter").task == task_kind::token_classification);
  const auto again = load_with_adapter<F, low_rank_static>(golden_path("bert"), folder / "adapter");
  CHECK(again.config.task == task_kind::token_classification);
  CHECK(again.labels == model.labels);
  CHECK(golden_logits(again) == golden_logits(model));
}

TEST_CASE("a sentence encoder's adapter has no head and is no classifier's") {
  const scratch_folder folder;
  const std::string base = golden_path("bert");
  auto model = load_sentence_encoder<F, low_rank_no_head>(base, {.numbers = {{"rank", 3}}});
  give_values(model);
  save_adapter(model, folder / "adapter", identify_base(base));
  CHECK(read_adapter(folder / "adapter").task == std::nullopt);
  const auto again = load_encoder_with_adapter<F, low_rank_no_head>(base, folder / "adapter");
  CHECK(golden_logits(again) == golden_logits(model));
  CHECK_THROWS_WITH((load_with_adapter<F, low_rank_no_head>(base, folder / "adapter")),
                    Contains("found one of a sentence encoder (load_encoder_with_adapter)"));
  save_adapter(model_with_values<low_rank_alone>({{"rank", 3}}), folder / "other", identify_base(base));
  CHECK_THROWS_WITH((load_encoder_with_adapter<F, low_rank_alone>(base, folder / "other")),
                    Contains("found one of a model for classification (load_with_adapter)"));
}

}  // namespace graft_test
