// SPDX-License-Identifier: MIT
// model/regraft.hpp, and adapter files of what it makes.
#include <graft/io/adapter.hpp>
#include <graft/model/merge.hpp>
#include <graft/model/regraft.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test::regraft_tests {

namespace {

using B = cpu<double>;
using Catch::Matchers::Contains;

struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct low_rank_dynamic {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic}),
                                on(at::head, train{})};
};
struct low_rank_and_top {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic}),
                                on(at::layer, train{}, top(1)), on(at::head, train{})};
};
struct of_rank_two {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};
struct directions {
  static constexpr recipe rules{on(at::query | at::value, dora{.rank = 2}), on(at::head, train{})};
};
struct by_vectors {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = dynamic, .init = lora_init::pissa}),
      on(at::head, train{})};
};
struct in_few_bits {
  static constexpr recipe rules{on(at::linear, quantize{.to = number_format::int8}),
                                on(at::query | at::value, lora{.rank = dynamic}),
                                on(at::head, train{})};
};
struct head_alone {
  static constexpr recipe rules{on(at::head, train{})};
};
struct biases_and_head {
  static constexpr recipe rules{on(at::everything, train{biases}), on(at::head, train{})};
};
struct low_rank_without_head {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic})};
};
struct low_rank_half_frozen {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2, .train_a = false}),
                                on(at::layer, train{}, top(1)), on(at::head, train{})};
};

// What an adapter file makes of a model.
template <class T>
std::vector<double> logits_once_saved(const bert_classifier<B, T>& model) {
  const scratch_folder folder;
  save_adapter(model, folder / "adapter", identify_base(golden_path("bert")));
  return golden_logits(load_with_adapter<B, T>(golden_path("bert"), folder / "adapter"));
}

// With values as if training had moved everything that is trained.
template <class T>
bert_classifier<B, T> trained(const decoration_numbers& numbers = {}) {
  auto model = bert_classifier<B, T>::load(golden_path("bert"), {.seed = 5, .numbers = numbers});
  random_stream random(11);
  for (const segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] += 0.1 * random.normal();
  return model;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  return error_of(std::span<const double>(a), b);
}

bool any_ends(const std::vector<std::string>& names, std::string_view ending) {
  return std::any_of(names.begin(), names.end(),
                     [&](const std::string& n) { return n.ends_with(ending); });
}

}  // namespace

TEST_CASE("a model that was trained whole goes on under LoRA as it was") {
  auto model = trained<full>();
  const auto before = golden_logits(model);
  const double* weights = model.parameters.values.data;
  const index_t numbers = model.parameters.size();
  regraft_report report;
  auto next = regraft<low_rank_dynamic>(std::move(model), {}, &report);
  CHECK(golden_logits(next) == before);
  CHECK(report.dropped.empty());
  CHECK(report.merged.empty());
  CHECK(report.fresh.size() == 12);  // A and B at two places of three layers
  CHECK(next.departed.contains("layer.1.attention.query.weight"));
  CHECK_FALSE(next.departed.contains("head.classifier.weight"));  // trained, so in files anyway
  // Frozen weights lie where they were trained.
  for (const auto& p : list_parts(next.network).parameters)
    if (p.weight)
      CHECK((p.data() >= weights && p.data() < weights + numbers));
}

TEST_CASE("what two tunings share keeps its values, and begins anew elsewhere") {
  auto model = trained<low_rank_dynamic>({{"rank", 3}, {"alpha", 6}});
  const auto before = golden_logits(model);
  std::vector<double> lora;
  for (const segment& s : model.parameters.segments)
    if (s.path.find(".lora.") != std::string::npos)
      lora.insert(lora.end(), model.parameters.values.data + s.offset,
                  model.parameters.values.data + s.offset + s.size());
  auto next = regraft<low_rank_and_top>(std::move(model));
  CHECK(golden_logits(next) == before);
  std::vector<double> kept;
  for (const segment& s : next.parameters.segments)
    if (s.path.find(".lora.") != std::string::npos) {
      CHECK((s.rows == 3 || s.cols == 3));
      kept.insert(kept.end(), next.parameters.values.data + s.offset,
                  next.parameters.values.data + s.offset + s.size());
    }
  CHECK(kept == lora);
  CHECK(next.departed.empty());

  SECTION("another rank is another decoration") {
    CHECK_THROWS_WITH(regraft<of_rank_two>(std::move(next)),
                      Contains("expected a place for every value") && Contains("lora.a"));
    // … and the model is lost with it, as anything moved.
  }
  SECTION("that may be let go") {
    regraft_report report;
    const auto smaller = regraft<of_rank_two>(std::move(next), {.drop = true}, &report);
    CHECK(any_ends(report.dropped, "layer.2.attention.value.lora.a"));
    CHECK(any_ends(report.fresh, "layer.2.attention.value.lora.a"));
    CHECK(golden_logits(smaller) != before);
    // The top layer was trained and is frozen now: no longer the checkpoint's.
    CHECK(smaller.departed.contains("layer.2.attention.query.weight"));
    CHECK_FALSE(smaller.departed.contains("layer.1.attention.query.weight"));
  }
}

TEMPLATE_TEST_CASE("a merged model computes the same without decorations", "", low_rank_dynamic,
                   by_vectors, in_few_bits) {
  auto model = trained<TestType>();
  const auto before = golden_logits(model);
  const auto merged = merge(std::move(model));
  STATIC_REQUIRE(std::is_same_v<typename decltype(merged)::tuning_type, untuned>);
  CHECK(distance(golden_logits(merged), before) < 1e-12);
  CHECK(merged.departed.contains("layer.0.attention.value.weight"));

  const scratch_folder folder;
  save_pretrained(merged, folder / "model", "BertForSequenceClassification", merged.labels);
  const auto again = bert_classifier<B>::load(folder / "model");
  CHECK(distance(golden_logits(again), before) < 1e-5);  // its numbers are floats
}

TEST_CASE("LoRA, merged, and LoRA again from another seed") {
  auto model = trained<low_rank_dynamic>();
  const auto before = golden_logits(model);
  const auto first_a = std::vector<double>(model.parameters.values.data,
                                           model.parameters.values.data + 16);
  regraft_report report;
  const auto next = regraft<low_rank_dynamic>(
      std::move(model), {.merge = true, .numbers = {{"rank", 5}}, .seed = 9}, &report);
  CHECK(report.merged.size() == 6);
  CHECK(report.dropped.empty());
  CHECK(distance(golden_logits(next), before) < 1e-12);
  CHECK(next.parameters.segments[0].rows == 5);
  CHECK(next.initial_seed == 9);
  CHECK(std::vector<double>(next.parameters.values.data, next.parameters.values.data + 16) !=
        first_a);
}

TEST_CASE("slots that stand empty are as if they were not there") {
  auto model = bert_classifier<B, strategies::lora_slots>::load(golden_path("bert"), {.seed = 5});
  const auto trained_model = trained<low_rank_dynamic>({{"rank", 3}});
  adapter_data a = data_of(trained_model);
  a.departed = {"head.classifier.weight", "head.classifier.bias"};  // which slots do not train
  put_adapter(model, a);
  const auto before = golden_logits(model);
  regraft_report report;
  auto merged = regraft<head_alone>(model.clone(), {.merge = true}, &report);
  CHECK(distance(golden_logits(merged), before) < 1e-12);
  CHECK(report.merged.size() == 6);
  CHECK(!merged.departed.contains("layer.0.attention.key.weight"));
  // Where nothing stood, what stands there now is fresh.
  const auto begun = regraft<low_rank_dynamic>(
      bert_classifier<B, strategies::lora_slots>::load(golden_path("bert"), {.seed = 5}), {}, &report);
  CHECK(begun.parameters.segments[0].rows == 8);
  CHECK(report.fresh.size() == 12);
  // What the slots add, beside A and B, is a bias of zero.
  const auto kept = regraft<low_rank_dynamic>(std::move(model), {.drop = true}, &report);
  CHECK(golden_logits(kept) == before);
  CHECK(report.fresh.empty());
  CHECK(report.dropped.size() == 6);
}

TEST_CASE("a decoration that starts from the base starts from the one it gets") {
  auto model = trained<full>();
  const auto before = golden_logits(model);
  auto dora = regraft<directions>(std::move(model));
  CHECK(distance(golden_logits(dora), before) < 1e-12);
  // Kept, it does not start again.
  for (const segment& s : dora.parameters.segments)
    if (s.path.find("magnitude") != std::string::npos)
      dora.parameters.values.data[s.offset] = 3;
  const auto moved = golden_logits(dora);
  CHECK(golden_logits(regraft<directions>(std::move(dora))) == moved);

  auto vectors = regraft<by_vectors>(trained<full>());
  CHECK(distance(golden_logits(vectors), before) < 1e-12);
  CHECK_THROWS_WITH(
      regraft<low_rank_dynamic>(std::move(vectors)),
      Contains("found such that took a part of it") && Contains("layer.0.attention.query (lora)"));
}

TEST_CASE("quantised weights are read by merging only") {
  CHECK_THROWS_WITH(regraft<low_rank_dynamic>(trained<in_few_bits>()),
                    Contains("expected values, found them quantised"));
  auto model = trained<in_few_bits>();
  const auto before = golden_logits(model);
  CHECK(distance(golden_logits(regraft<head_alone>(std::move(model), {.merge = true})), before) < 1e-12);
}

TEST_CASE("what is no matrix cannot be merged") {
  auto model = trained<strategies::pfeiffer>({{"width", 3}});
  CHECK_THROWS_WITH(regraft<untuned>(std::move(model), {.merge = true}),
                    Contains("expected a place for every value") && Contains("adapter"));
}

TEST_CASE("frozen values that are not the checkpoint's travel with the trained part") {
  auto model = regraft<low_rank_dynamic>(trained<full>());
  random_stream random(12);
  for (const segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] += 0.1 * random.normal();
  const scratch_folder folder;
  const base_identity base = identify_base(golden_path("bert"));
  save_adapter(model, folder / "adapter", base);
  auto again = load_with_adapter<B, low_rank_dynamic>(golden_path("bert"), folder / "adapter");
  CHECK(golden_logits(again) == golden_logits(model));
  CHECK(again.departed == model.departed);
  CHECK(again.clone().departed == model.departed);

  SECTION("once more") {
    save_adapter(again, folder / "again", base);
    CHECK(golden_logits(load_with_adapter<B, low_rank_dynamic>(
              golden_path("bert"), folder / "again")) == golden_logits(model));
  }
  SECTION("and must be there") {
    const auto file = std::filesystem::path(folder / "adapter") / "graft_adapter.safetensors";
    const auto from = safetensors_file::open(file);
    std::vector<tensor_entry> entries;
    for (const tensor_entry& entry : from.entries())
      if (entry.name != "layer.1.feed_forward.output.bias")
        entries.push_back(entry);
    write_safetensors(file, entries);
    CHECK_THROWS_WITH(
        (load_with_adapter<B, low_rank_dynamic>(golden_path("bert"), folder / "adapter")),
        Contains("layer.1.feed_forward.output.bias: missing"));
  }
}

TEST_CASE("whatever was trained before, the file of the last tuning has all that departed") {
  SECTION("frozen weights beside trained biases") {
    const auto model = regraft<biases_and_head>(trained<full>());
    CHECK(logits_once_saved(model) == golden_logits(model));
  }
  SECTION("a base that factors were taken out of") {
    const auto model = regraft<by_vectors>(trained<full>());
    CHECK(logits_once_saved(model) == golden_logits(model));
  }
  SECTION("frozen factors from another seed") {
    auto first = trained<of_rank_two>();
    regraft_report report;
    const auto model = regraft<low_rank_half_frozen>(std::move(first), {.seed = 99}, &report);
    CHECK(report.dropped.empty());
    CHECK(logits_once_saved(model) == golden_logits(model));
  }
  SECTION("a frozen head of other classes") {
    auto first = bert_classifier<B, full>::load(
        golden_path("bert"),
        {.label_names = {"a", "b", "c", "d", "e"}, .replace_head = true, .seed = 5});
    const auto model = regraft<low_rank_without_head>(std::move(first));
    CHECK(logits_once_saved(model) == golden_logits(model));
  }
  SECTION("two tunings ago") {
    const auto model = regraft<low_rank_dynamic>(regraft<head_alone>(trained<full>()));
    CHECK(model.departed.contains("layer.0.feed_forward.input.weight"));
    CHECK(logits_once_saved(model) == golden_logits(model));
  }
}

TEST_CASE("adapters that are left out stay left out") {
  auto model = trained<strategies::pfeiffer>({{"width", 3}});
  drop_adapters(model, 2);
  const auto before = golden_logits(model);
  CHECK(golden_logits(regraft<strategies::pfeiffer>(std::move(model))) == before);
}

TEST_CASE("a matrix that layers share is kept, or refused") {
  auto model = trained<strategies::vera>();
  const auto before = golden_logits(model);
  auto same = regraft<strategies::vera>(std::move(model));
  CHECK(golden_logits(same) == before);
  CHECK_THROWS_WITH(regraft<strategies::vera>(std::move(same), {.numbers = {{"projection_seed", 5}}}),
                    Contains("vera.a: expected the matrix that its layers learned with"));
}

TEST_CASE("quantised weights that are not the checkpoint's are in no file") {
  auto model = regraft<in_few_bits>(trained<full>());
  const scratch_folder folder;
  CHECK_THROWS_WITH(save_adapter(model, folder / "adapter", identify_base(golden_path("bert"))),
                    Contains("layer.0.attention.query.weight") && Contains("quantised"));
}

}  // namespace graft_test::regraft_tests
