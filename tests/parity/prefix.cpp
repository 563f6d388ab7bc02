// SPDX-License-Identifier: MIT
// Prefixes against PEFT, whose tokens take positions behind them, and AdapterHub, whose do not.
#include <graft/io/adapter.hpp>
#include <graft/tuning/prefix.hpp>
#include <graft/tuning/recipe.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"
#include "support/prefix_names.hpp"

namespace graft_test {

namespace {

using namespace prefix_sizes;

constexpr prefix encoded{.encoder = prompt_encoder::mlp};

struct behind {
  static constexpr recipe rules{on(at::memory | at::position, prefix{}), on(at::head, train{})};
};
struct behind_encoded {
  static constexpr recipe rules{on(at::memory | at::position, encoded), on(at::head, train{})};
};
struct plain {
  static constexpr recipe rules{on(at::memory, prefix{}), on(at::head, train{})};
};
struct plain_encoded {
  static constexpr recipe rules{on(at::memory, encoded), on(at::head, train{})};
};
struct gated {
  static constexpr recipe rules{on(at::memory, prefix{.gate = prefix_gate::two}),
                                on(at::head, train{})};
};

const decoration_numbers four_tokens{{"tokens", 4}}, four_of_ten{{"tokens", 4}, {"hidden", 10}};

}  // namespace

TEMPLATE_TEST_CASE("prefixes compute and learn what PEFT's do", "", cpu<double>, cpu<float>) {
  check_classifier<TestType, behind>("bert", "prefix", four_tokens, of_peft);
}

TEMPLATE_TEST_CASE("prefixes that a network makes compute and learn what PEFT's do", "",
                   cpu<double>, cpu<float>) {
  using B = TestType;
  golden peer("bert", "prefix_mlp");
  const auto expected = peer.values("prompt");  // what the network makes after the last step
  auto model =
      bert_classifier<B, behind_encoded>::load(golden_path("bert"), {.numbers = four_of_ten});
  check_parity(model, peer, golden_batch(peer, model.config), of_peft);
  if (sizeof(typename B::scalar) < 8)
    return;
  host_workspace memory;
  const layout batch;
  std::size_t n = 0;
  for_each_layer(model.network, [&](const std::string&, auto& layer) {
    if constexpr (requires { layer.prefix; }) {
      cache_t<encoded_prefix<B>, inference_demand> none;
      const context<B> k{memory, batch};
      const auto rows = layer.prefix.template forward<inference_demand>(none, k);
      for (std::size_t i = 0; i < 4; ++i)
        for (std::size_t j = 0; j < width; ++j) {
          const auto r = static_cast<index_t>(i), c = static_cast<index_t>(j);
          CHECK(std::abs(rows.keys(r, c) - expected[i * all + 2 * n * width + j]) <= 1e-8);
          CHECK(std::abs(rows.values(r, c) - expected[i * all + (2 * n + 1) * width + j]) <= 1e-8);
        }
      ++n;
    }
  });
  CHECK(n == layers);
}

TEMPLATE_TEST_CASE("prefixes compute and learn what AdapterHub's do", "", cpu<double>, cpu<float>) {
  check_classifier<TestType, plain>("bert", "prefix_flat", four_tokens, of_adapterhub);
  check_classifier<TestType, plain_encoded>("bert", "prefix_mlp_adapterhub", four_of_ten,
                                            of_adapterhub);
  check_classifier<TestType, gated>("bert", "prefix_gated", four_tokens, of_adapterhub);
}

TEST_CASE("a file of prefixes holds what the layers share, and how far positions move") {
  using B = cpu<float>;
  const scratch_folder folder;
  const std::string base = golden_path("bert");
  auto model = bert_classifier<B, behind_encoded>::load(
      base, {.seed = 7, .numbers = {{"tokens", 4}, {"hidden", 3}}});
  for (index_t i = 0; i < model.parameters.size(); ++i)
    model.parameters.values.data[i] += 0.01f * static_cast<float>(i % 50);
  save_adapter(model, folder / "adapter", identify_base(base));
  const auto again = load_with_adapter<B, behind_encoded>(base, folder / "adapter");
  REQUIRE(again.parameters.segments.size() == model.parameters.segments.size());
  golden peer("bert", "prefix");
  const token_batch batch = golden_batch(peer, model.config);
  B::workspace memory;
  const context<B> k{memory, batch.rows};
  CHECK(values_of(again.predict(batch, k)) == values_of(model.predict(batch, k)));
}

}  // namespace graft_test
