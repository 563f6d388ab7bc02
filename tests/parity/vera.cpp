// SPDX-License-Identifier: MIT
// VeRA against PEFT, and in a file.
#include <graft/io/adapter.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"

namespace graft_test {

namespace {

struct feed_forward_input {
  static constexpr recipe rules{on(at::query | at::feed_forward_input, vera{}),
                                on(at::head, train{})};
};
struct both_widths {
  static constexpr recipe rules{
      on(at::query | at::feed_forward_input | at::feed_forward_output, vera{}),
      on(at::head, train{})};
};

const decoration_numbers rank_of_4{{"rank", 4}};

template <class B>
typename B::parameter matrix(const std::vector<double>& values, index_t rows, bool transposed) {
  const index_t cols = static_cast<index_t>(values.size()) / rows;
  typename B::parameter p(transposed ? cols : rows, transposed ? rows : cols);
  for (index_t i = 0; i < rows; ++i)
    for (index_t j = 0; j < cols; ++j)
      (transposed ? p(j, i) : p(i, j)) =
          static_cast<typename B::scalar>(values[static_cast<std::size_t>(i * cols + j)]);
  return p;
}

template <class B, class T>
void check_vera(const std::string& method) {
  INFO(method);
  golden peer("bert", method);
  auto model = bert_classifier<B, T>::load(golden_path("bert"), {.numbers = rank_of_4});
  const auto of_a = peer.values("shared.vera_A"), of_b = peer.values("shared.vera_B");
  const typename B::frozen_weight a = matrix<B>(of_a, 4, true),
                                  b = matrix<B>(of_b, static_cast<index_t>(of_b.size()) / 4, false);
  int layers = 0;
  for_each_layer(model.network, [&](const std::string&, auto& layer) {
    if constexpr (requires { layer.lambda_d; }) {
      ++layers;
      REQUIRE(layer.a.rows == a.rows);
      REQUIRE(layer.b.rows == b.rows);
      layer.a = a;
      layer.b = b;
    }
  });
  CHECK(layers >= 6);
  const renaming scales = endings(
      bert_family::bert, {{"vera.lambda_d", "vera_lambda_d"}, {"vera.lambda_b", "vera_lambda_b"}});
  check_parity(model, peer, golden_batch(peer, model.config), [&](const std::string& path) {
    return path.starts_with("vera.") ? "shared." + path : scales(path);
  });
}

}  // namespace

TEMPLATE_TEST_CASE("VeRA computes and learns what PEFT's does", "", cpu<double>, cpu<float>) {
  check_vera<TestType, strategies::vera>("vera");
}

TEST_CASE("VeRA shares its matrices among layers of several widths as PEFT's does") {
  check_vera<cpu<double>, feed_forward_input>("vera_ffn");
  check_vera<cpu<double>, both_widths>("vera_sliced");
}

TEST_CASE("a file of VeRA holds its scales; the matrices come of their seed") {
  using B = cpu<float>;
  const scratch_folder folder;
  const std::string base = golden_path("bert");
  auto model = bert_classifier<B, strategies::vera>::load(
      base, {.numbers = {{"rank", 5}, {"projection_seed", 11}}});
  for (index_t i = 0; i < model.parameters.size(); ++i)
    model.parameters.values.data[i] = 0.01f * static_cast<float>(i % 50);
  save_adapter(model, folder / "adapter", identify_base(base));
  const auto file = safetensors_file::open(folder / "adapter/graft_adapter.safetensors");
  CHECK(file.entries().size() == 3 * 2 * 2 + 2);
  CHECK(file.find("layer.0.attention.query.vera.lambda_b") != nullptr);

  const auto again = load_with_adapter<B, strategies::vera>(base, folder / "adapter");
  golden peer("bert", "vera");
  const token_batch batch = golden_batch(peer, model.config);
  B::workspace memory;
  const context<B> k{memory, batch.rows};
  CHECK(values_of(again.predict(batch, k)) == values_of(model.predict(batch, k)));
}

}  // namespace graft_test
