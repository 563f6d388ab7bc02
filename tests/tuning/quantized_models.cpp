// SPDX-License-Identifier: MIT
// tuning/quantize.hpp in whole models.
#include <graft/backend/cpu.hpp>
#include <graft/io/adapter.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_bert.hpp"
#include "support/trained_values.hpp"

namespace graft_test {

namespace {

using Catch::Matchers::Contains;

constexpr quantize in_bf16{.to = number_format::bf16};
constexpr quantize in_int8{.to = number_format::int8};
constexpr quantize in_int8_with_inputs{.to = number_format::int8, .inputs = true};
constexpr quantize in_nf4{};
constexpr lora lora_of_two{.rank = 2};
constexpr dora dora_of_two{.rank = 2};

struct qlora_bf16 {
  static constexpr recipe rules{on(at::linear, in_bf16), on(at::query | at::value, lora_of_two),
                                on(at::head, train{})};
};
struct qlora_int8 {
  static constexpr recipe rules{on(at::linear, in_int8), on(at::query | at::value, lora_of_two),
                                on(at::head, train{})};
};
struct qlora_int8_inputs {
  static constexpr recipe rules{on(at::linear, in_int8_with_inputs), on(at::query | at::value, lora_of_two),
                                on(at::head, train{})};
};
struct qlora_nf4 {
  static constexpr recipe rules{on(at::linear, in_nf4), on(at::query | at::value, lora_of_two),
                                on(at::head, train{})};
};
struct plain_lora {
  static constexpr recipe rules{on(at::query | at::value, lora_of_two), on(at::head, train{})};
};
struct qdora_nf4 {
  static constexpr recipe rules{on(at::linear, in_nf4), on(at::query | at::value, dora_of_two),
                                on(at::head, train{})};
};
struct plain_dora {
  static constexpr recipe rules{on(at::query | at::value, dora_of_two), on(at::head, train{})};
};
struct every_weight {
  static constexpr recipe rules{on(at::linear, in_nf4)};
};

// The gradients of a small BERT whose base has large weights, in few bits.
template <class T>
void check_small_bert() {
  using network_type = bert_classifier_network<cpu<double>, T>;
  const bert_config c = small_bert();
  network_type network(c, 3);
  prepare(network, 5, {}, base_values::from_checkpoint);
  randomize(network, 3, 0.3);
  base_filled(network);
  start_from_base(network);
  for_each_layer(network, [](const std::string&, auto& layer) {
    if constexpr (requires { layer.hold_lengths(); })
      layer.hold_lengths();  // constants of DoRA's gradient
  });
  const token_batch batch = small_batch(c);
  check_network(network, batch, batch.rows, GENERATE(false, true));
}

using F = cpu<float>;

// A model with random values in its trained part, saved.
template <class T>
bert_classifier<F, T> saved(const std::string& folder) {
  load_options options{.seed = 5};
  options.label_names = {"bad", "good"};
  options.replace_head = true;
  auto model = bert_classifier<F, T>::load(golden_path("bert"), options);
  random_stream random(11);
  for (const segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] += static_cast<float>(0.1 * random.normal());
  save_adapter(model, folder, identify_base(golden_path("bert")));
  return model;
}

double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, static_cast<double>(std::abs(a[i] - b[i])));
  return most;
}

}  // namespace

TEST_CASE("a BERT with low-rank updates over bf16 has the gradients of its formula") {
  check_small_bert<qlora_bf16>();
}
TEST_CASE("a BERT with low-rank updates over int8 has the gradients of its formula") {
  check_small_bert<qlora_int8>();
}
TEST_CASE("a BERT with low-rank updates over NF4 has the gradients of its formula") {
  check_small_bert<qlora_nf4>();
}
TEST_CASE("a BERT with DoRA over NF4 has the gradients of its formula") {
  check_small_bert<qdora_nf4>();
}

TEST_CASE("a fresh model and one from a checkpoint are quantised, and clones share the codes") {
  const auto codes_of = [](const auto& model) {
    std::vector<const void*> codes;
    for_each_layer(model.network, [&](const std::string&, const auto& l) {
      if constexpr (requires { l.weight_codes; })
        codes.push_back(l.weight_codes.get());
    });
    return codes;
  };
  const auto expect_quantised = [&](const auto& model) {
    for (const auto& p : list_parts(model.network).parameters) {
      INFO(p.path);
      const bool dense_map = p.path.starts_with("layer.") && p.kind == parameter_kind::weight;
      CHECK((p.data() == nullptr) == dense_map);
    }
    const auto codes = codes_of(model);
    CHECK(codes.size() == 6 * 3);
    CHECK(std::count(codes.begin(), codes.end(), nullptr) == 0);
    CHECK(codes_of(model.clone()) == codes);
  };
  expect_quantised(bert_classifier<F, every_weight>(small_bert(), {"a", "b"}, 3));
  const auto loaded = bert_classifier<F, every_weight>::load(golden_path("bert"), {});
  expect_quantised(loaded);
  const auto untouched = bert_classifier<F, untuned>::load(golden_path("bert"), {});
  const double apart = largest_difference(golden_logits(loaded), golden_logits(untouched));
  CHECK(apart > 0);
  CHECK(apart < 0.5);
}

TEST_CASE("over bf16 and int8, inputs too, the losses of twenty steps are near those over fp32") {
  const auto losses = [](auto model) {
    std::vector<double> found;
    example_list data;
    random_stream random(2);
    for (int i = 0; i < 16; ++i) {
      example e{.ids = {1 + i % 2}, .label = i % 2};
      for (index_t n = 2 + i % 5; n > 0; --n)
        e.ids.push_back(static_cast<std::int32_t>(3 + random.below(8)));
      data.push_back(std::move(e));
    }
    fit(model, data, {}, {.epochs = 5, .batch = 4, .method = adamw{.rate = 1e-2}},
        [&](const fit_progress& p) { found.push_back(p.loss); return true; });
    return found;
  };
  const auto apart = [](const std::vector<double>& a, const std::vector<double>& b) {
    REQUIRE(a.size() == b.size());
    REQUIRE(a.size() >= 20);
    double most = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      most = std::max(most, std::abs(a[i] - b[i]) / a[i]);
    return most;
  };
  const auto fresh = [&]<class T>(std::type_identity<T>) {
    return losses(bert_classifier<F, T>(small_bert(), {"a", "b"}, 3));
  };
  const double half = apart(fresh(std::type_identity<plain_lora>()), fresh(std::type_identity<qlora_bf16>()));
  CHECK(half > 0);
  CHECK(half < 0.02);

  // Of a checkpoint with larger weights, which 16 bits hold exactly.
  const auto loaded = [&]<class T>(std::type_identity<T>) {
    load_options options{.seed = 3};
    options.label_names = {"a", "b"};
    options.replace_head = true;
    return losses(bert_classifier<F, T>::load(golden_path("bert"), options));
  };
  const auto plain = loaded(std::type_identity<plain_lora>()), eight = loaded(std::type_identity<qlora_int8>());
  const auto inputs_too = loaded(std::type_identity<qlora_int8_inputs>());
  CHECK(apart(plain, loaded(std::type_identity<qlora_bf16>())) < 0.02);
  for (const auto& found : {eight, inputs_too}) {
    CHECK(apart(plain, found) > 1e-4);
    CHECK(apart(plain, found) < 0.02);
  }
  CHECK(apart(eight, inputs_too) > 1e-4);
}

TEST_CASE("DoRA begins with the lengths of the quantised rows") {
  const auto model = bert_classifier<F, qdora_nf4>::load(golden_path("bert"), {});
  const auto base = bert_classifier<F, every_weight>::load(golden_path("bert"), {});
  CHECK(largest_difference(golden_logits(model), golden_logits(base)) <
        1e-5);  // the base, as every fresh update
}

TEMPLATE_TEST_CASE("an adapter trained over a quantised base opens over both", "",
                   (std::pair<qlora_int8, plain_lora>), (std::pair<qlora_nf4, plain_lora>),
                   (std::pair<qdora_nf4, plain_dora>)) {
  using quantised_tuning = typename TestType::first_type;
  using plain_tuning = typename TestType::second_type;
  const scratch_folder folder;
  const auto model = saved<quantised_tuning>(folder / "adapter");
  const auto again =
      load_with_adapter<F, quantised_tuning>(golden_path("bert"), folder / "adapter");
  CHECK(trained_values(again) == trained_values(model));
  CHECK(golden_logits(again) == golden_logits(model));

  const auto plain = load_with_adapter<F, plain_tuning>(golden_path("bert"), folder / "adapter");
  CHECK(trained_values(plain) == trained_values(model));
  const double apart = largest_difference(golden_logits(plain), golden_logits(model));
  CHECK(apart > 0);
  CHECK(apart < 0.5);

  const auto other = saved<plain_tuning>(folder / "plain");
  const auto over = load_with_adapter<F, quantised_tuning>(golden_path("bert"), folder / "plain");
  CHECK(trained_values(over) == trained_values(other));
  CHECK(largest_difference(golden_logits(over), golden_logits(other)) < 0.5);
}

TEST_CASE("quantised weights are not written as if they were the checkpoint's") {
  const auto model = bert_classifier<F, every_weight>::load(golden_path("bert"), {});
  const scratch_folder folder;
  CHECK_THROWS_WITH(save_pretrained(model, folder / "model", "BertForSequenceClassification"),
                    Contains("found these quantised: layer.0.attention.query.weight"));
}

}  // namespace graft_test
