// SPDX-License-Identifier: MIT
// model/masked_language_model.hpp; parity with PyTorch is in parity/mlm.cpp.
#include <graft/backend/cpu.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/tuning/strategies.hpp>

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

// The tied table is trained, and nothing around it.
struct word_table {
  static constexpr recipe rules{on(at::word, train{})};
};
struct decoder_alone {
  static constexpr recipe rules{on(at::mlm_decoder, train{})};
};
struct low_rank_and_head {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}, top(1)),
                                on(at::mlm, train{})};
};

template <class T>
masked_language_network<cpu<double>, T> small_network() {
  masked_language_network<cpu<double>, T> network(small_bert());
  prepare(network, 1);
  return network;
}

}  // namespace

TEMPLATE_TEST_CASE("a masked language model has the gradients of its formula", "", strategies::full,
                   biases_trained, word_table, decoder_alone, low_rank_and_head) {
  auto network = small_network<TestType>();
  const masked_batch batch{small_batch(), {0, 2, 2, 7}};
  check_network(network, batch, batch.rows, GENERATE(false, true));
}

TEST_CASE("a masked language model is asked for rows of its batch") {
  using B = cpu<double>;
  const auto network = small_network<decoder_alone>();
  host_workspace memory;
  for (const std::int32_t row : {-1, 8}) {
    const masked_batch batch{small_batch(), {0, row}};
    cache_t<std::remove_const_t<decltype(network)>, inference_demand> none;
    CHECK_THROWS_WITH(
        network.forward<inference_demand>(batch, none, context<B>{memory, batch.rows}),
        Catch::Matchers::Contains("expected rows below 8, found " + std::to_string(row)));
  }
  const masked_batch nothing_asked{small_batch(), {}};
  cache_t<std::remove_const_t<decltype(network)>, inference_demand> none;
  const auto y = network.forward<inference_demand>(nothing_asked, none,
                                                   context<B>{memory, nothing_asked.rows});
  CHECK(y.rows == 0);
  CHECK(y.cols == 11);
}

TEST_CASE("a masked language model that is saved loads to the same bits") {
  using B = cpu<float>;
  const scratch_folder folder;
  golden peer("bert_mlm", "mlm");
  load_report report;
  const auto model =
      load_masked_language_model<B, strategies::full>(golden_path("bert_mlm"), {}, &report);
  CHECK(report.fresh.empty());
  save_pretrained(model, folder / "saved", "BertForMaskedLM");
  const auto again = load_masked_language_model<B, untuned>(folder / "saved", {}, &report);
  CHECK(report.fresh.empty());
  CHECK(report.unused.empty());
  const masked_batch batch{golden_batch(peer, model.config), peer.integers("input.positions")};
  host_workspace memory;
  const context<B> k{memory, batch.rows};
  const auto a = model.predict(batch, k), b = again.predict(batch, k);
  CHECK(std::vector<float>(a.data, a.data + a.size()) ==
        std::vector<float>(b.data, b.data + b.size()));
  // A checkpoint without the head gives it anew, and says so.
  const auto fresh = load_masked_language_model<B, untuned>(golden_path("bert"), {}, &report);
  CHECK(fresh.network.mlm.norm.weight(0, 3) == 1);
  CHECK(fresh.network.mlm.norm.bias(0, 3) == 0);
  CHECK(fresh.network.mlm.dense.dense.weight(2, 3) != 0);
  CHECK(report.fresh == std::vector<std::string>{"mlm.dense.weight", "mlm.dense.bias",
                                                 "mlm.norm.weight", "mlm.norm.bias",
                                                 "mlm.decoder.bias"});
}

}  // namespace graft_test
