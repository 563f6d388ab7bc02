// SPDX-License-Identifier: MIT
// Virtual tokens against PEFT (rows at the word table, made by a network or not) and AdapterHub
// (rows behind the embeddings).
#include <graft/io/adapter.hpp>
#include <graft/tuning/prompt.hpp>
#include <graft/tuning/recipe.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

namespace {

struct words_alone {
  static constexpr recipe rules{on(at::word, prompt{}), on(at::head, train{})};
};
struct encoded_words {
  static constexpr recipe rules{on(at::word, prompt{.encoder = prompt_encoder::mlp}),
                                on(at::head, train{})};
};
struct behind_embeddings {
  static constexpr recipe rules{on(at::embeddings, prompt{}), on(at::head, train{})};
};

const decoration_numbers five_tokens{{"tokens", 5}};

renaming rows_called(const std::string& name) {
  return [=](const std::string& path) {
    return path.ends_with("prompt.rows") ? name : std::string();
  };
}

std::string name_in_encoder(const std::string& path) {
  for (const auto& [ours, theirs] : {std::pair{"prompt.rows", "embedding.weight"},
                                     std::pair{"prompt.first.weight", "mlp_head.0.weight"},
                                     std::pair{"prompt.first.bias", "mlp_head.0.bias"},
                                     std::pair{"prompt.second.weight", "mlp_head.2.weight"},
                                     std::pair{"prompt.second.bias", "mlp_head.2.bias"},
                                     std::pair{"prompt.third.weight", "mlp_head.4.weight"},
                                     std::pair{"prompt.third.bias", "mlp_head.4.bias"}})
    if (path.ends_with(ours))
      return std::string("prompt_encoder.") + theirs;
  return {};
}

}  // namespace

TEMPLATE_TEST_CASE("prompts compute and learn what PEFT's do", "", cpu<double>, cpu<float>) {
  check_classifier<TestType, words_alone>("bert", "prompt", five_tokens,
                                    rows_called("prompt_encoder.embedding.weight"));
}

TEMPLATE_TEST_CASE("prompts behind the embeddings compute and learn what AdapterHub's do", "",
                   cpu<double>, cpu<float>) {
  check_classifier<TestType, behind_embeddings>(
      "bert", "prompt_adapterhub", five_tokens,
      rows_called("bert.prompt_tuning.prompt_tunings.a.prompt_embedding.weight"));
}

TEMPLATE_TEST_CASE("P-tuning computes and learns what PEFT's does", "", cpu<double>, cpu<float>) {
  using B = TestType;
  golden peer("bert", "p_tuning");
  const auto rows = peer.values("prompt");  // that the network makes after the last step
  auto model = bert_classifier<B, encoded_words>::load(
      golden_path("bert"), {.numbers = {{"tokens", 5}, {"hidden", 10}}});
  check_parity(model, peer, golden_batch(peer, model.config), name_in_encoder);
  if (sizeof(typename B::scalar) < 8)
    return;
  host_workspace memory;
  const layout batch;
  using source = encoded_rows<B>;
  cache_t<source, inference_demand> none;
  const auto ours = model.network.bert.embeddings.word.prompt.template forward<inference_demand>(
      none, context<B>{memory, batch});
  CHECK(error_of(elements(ours), rows) <= 1e-8);
}

TEST_CASE("a file of P-tuning holds its network, so that training can go on") {
  using B = cpu<float>;
  const scratch_folder folder;
  const std::string base = golden_path("bert");
  auto model = bert_classifier<B, encoded_words>::load(
      base, {.seed = 7, .numbers = {{"tokens", 4}, {"hidden", 3}}});
  for (index_t i = 0; i < model.parameters.size(); ++i)
    model.parameters.values.data[i] += 0.01f * static_cast<float>(i % 50);
  save_adapter(model, folder / "adapter", identify_base(base));
  const auto again = load_with_adapter<B, encoded_words>(base, folder / "adapter");
  REQUIRE(again.parameters.segments.size() == model.parameters.segments.size());
  golden peer("bert", "prompt");
  const token_batch batch = golden_batch(peer, model.config);
  B::workspace memory;
  const context<B> k{memory, batch.rows};
  CHECK(values_of(again.predict(batch, k)) == values_of(model.predict(batch, k)));
}

}  // namespace graft_test
