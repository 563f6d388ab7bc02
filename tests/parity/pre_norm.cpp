// SPDX-License-Identifier: MIT
// Pre-LN encoders against the peers: transformers and PEFT, and AdapterHub's layers in the place of
// the joins (golden/pre_norm_methods.py).
#include <graft/io/json.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/recipe.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "support/adapter_places.hpp"
#include "support/adapterhub_names.hpp"
#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using Catch::Matchers::Contains;

const std::string model_name = "roberta_prelayernorm";

template <class B, class T>
using classifier = bert_classifier<B, T, norm_order::before>;

template <class B, class T>
void check_pre_norm(const std::string& method, const decoration_numbers& numbers = {},
                    bool ln_before = false) {
  INFO(method);
  golden peer(model_name, method);
  auto model = classifier<B, T>::load(golden_path(model_name), {.numbers = numbers});
  check_parity(model, peer, golden_batch(peer, model.config), [=](const std::string& path) {
    const std::string name = adapterhub_name(path, ln_before);
    return name.empty() ? name : model_name + name.substr(std::string_view("bert").size());
  });
}

struct in_both_joins {
  static constexpr recipe rules{
      on(at::attention_join | at::feed_forward_join, bottleneck{.width = 6}),
      on(at::head, train{})};
};
struct norms_alone {
  static constexpr recipe rules{on(at::norm, train{}), on(at::head, train{})};
};

}  // namespace

TEMPLATE_TEST_CASE("full fine-tuning of a pre-LN encoder computes and learns what PyTorch does", "",
                   cpu<double>, cpu<float>) {
  check_pre_norm<TestType, strategies::full>("full");
}

TEST_CASE("LoRA in a pre-LN encoder computes and learns what PEFT's does") {
  check_pre_norm<cpu<double>, strategies::lora_query_value>("lora", with_rank(4, 8));
}

TEST_CASE("the norms of a pre-LN encoder, trained alone, learn what PyTorch's do") {
  check_pre_norm<cpu<double>, norms_alone>("norms");
}

TEST_CASE("adapters after and beside pre-LN sub-layers compute and learn what AdapterHub's do") {
  check_pre_norm<cpu<double>, strategies::houlsby>("houlsby", with_width(6));
  check_pre_norm<cpu<double>, beside_both>("parallel");
}

TEST_CASE("adapters in pre-LN joins compute and learn what AdapterHub's do") {
  check_pre_norm<cpu<double>, strategies::pfeiffer>("pfeiffer", with_width(6));
  check_pre_norm<cpu<double>, in_both_joins>("pfeiffer_both");
}

TEST_CASE("in pre-LN joins the parts of an adapter compute and learn what AdapterHub's do") {
  check_pre_norm<cpu<double>, in_joins<bottleneck{.width = 6, .ln_before = true}>>("bn_ln_before",
                                                                                   {}, true);
  check_pre_norm<cpu<double>, in_joins<bottleneck{.width = 6, .ln_after = true}>>("bn_ln_after");
  check_pre_norm<
      cpu<double>,
      in_joins<bottleneck{.width = 6, .ln_after = true, .adapter_residual_before_ln = true}>>(
      "bn_adapter_residual_before_ln");
}

TEST_CASE("in pre-LN joins the forms of a bottleneck compute and learn what AdapterHub's do") {
  check_pre_norm<cpu<double>, in_joins<bottleneck{.width = 6, .original_ln_after = false}>>(
      "bn_original_ln_before_only");
  check_pre_norm<
      cpu<double>,
      in_joins<bottleneck{.width = 6, .original_ln_before = false, .original_ln_after = false}>>(
      "bn_no_original_ln");
  check_pre_norm<cpu<double>,
                 in_joins<bottleneck{.width = 6, .residual = adapter_residual::input}>>(
      "bn_residual_input");
  check_pre_norm<cpu<double>, strategies::adapter_plus>("adapter_plus", with_width(6));
}

TEST_CASE("a pre-LN classifier that is saved loads as itself") {
  using model_type = classifier<cpu<float>, untuned>;
  const auto model = model_type::load(golden_path(model_name), {});
  const scratch_folder folder;
  save_pretrained(model, folder.path.string(), "RobertaPreLayerNormForSequenceClassification",
                  model.labels);
  CHECK(read_json((folder.path / "config.json").string()).at("model_type") ==
        "roberta-prelayernorm");
  const auto again = model_type::load(folder.path.string(), {});
  const auto before = list_parts(model.network).parameters,
             after = list_parts(again.network).parameters;
  REQUIRE(before.size() == after.size());
  for (std::size_t i = 0; i < before.size(); ++i) {
    INFO(before[i].path);
    CHECK(std::equal(before[i].data(), before[i].data() + before[i].size(), after[i].data()));
  }
}

TEST_CASE("every kind of model reads a pre-LN encoder from a checkpoint") {
  using B = cpu<double>;
  constexpr norm_order order = norm_order::before;
  const std::string folder = golden_path(model_name);
  golden peer(model_name, "full");
  const auto first = classifier<B, untuned>::load(folder, {});
  const token_batch batch = golden_batch(peer, first.config);
  host_workspace memory;
  const context<B> k{memory, batch.rows};
  const auto rows_of_encoder = [&](const auto& model) {
    cache_t<decltype(model.network.bert), inference_demand> none;
    const auto y = model.network.bert.template forward<inference_demand>(batch, none, k);
    return std::vector<double>(y.data, y.data + y.size());
  };
  const auto expected = rows_of_encoder(first);
  CHECK(rows_of_encoder(load_sentence_encoder<B, untuned, order>(folder)) == expected);
  load_report report;
  const auto language = load_masked_language_model<B, untuned, order>(folder, {}, &report);
  CHECK(rows_of_encoder(language) == expected);
  for (const std::string& fresh : report.fresh)
    CHECK(fresh.starts_with("mlm."));
  for (const std::string& unused : report.unused)
    CHECK(unused.starts_with("classifier."));
}

TEST_CASE("a checkpoint whose layers have the other order of norms is refused") {
  const std::string pre = golden_path(model_name), post = golden_path("roberta");
  const auto refused = [&](auto&& load) {
    CHECK_THAT(
        message_of<checkpoint_error>(load),
        Contains(pre + "/config.json: \"model_type\": expected bert, roberta or distilbert") &&
            Contains("found \"roberta-prelayernorm\"") && Contains("norm_order::before"));
  };
  refused([&] { bert_classifier<cpu<double>, untuned>::load(pre, {}); });
  refused([&] { load_sentence_encoder<cpu<double>>(pre); });
  CHECK_THAT(
      message_of<checkpoint_error>([&] { classifier<cpu<double>, untuned>::load(post, {}); }),
      Contains(post + "/config.json: \"model_type\": expected roberta-prelayernorm") &&
          Contains("found \"roberta\""));
}

}  // namespace graft_test
