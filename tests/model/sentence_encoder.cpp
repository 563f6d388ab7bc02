// SPDX-License-Identifier: MIT
// model/sentence_encoder.hpp
#include <graft/backend/cpu.hpp>
#include <graft/io/pretrained.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/tuning/strategies.hpp>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

struct low_rank_at_top {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}, top(1))};
};

}  // namespace

TEST_CASE("a sentence's vector is the mean of its rows, of unit length") {
  using B = cpu<double>;
  const auto model = load_sentence_encoder<B>(golden_path("bert"));
  golden peer("bert", "full");
  const token_batch batch = golden_batch(peer, model.config);
  host_workspace memory;
  const context<B> k{memory, batch.rows};
  cache_t<decltype(model.network.bert), inference_demand> none;
  const auto h = model.network.bert.forward<inference_demand>(batch, none, k);
  const auto mean = model.predict(batch, k);
  const auto unit = model.encode(batch, k);
  REQUIRE(mean.rows == 5);
  REQUIRE(unit.rows == 5);
  for (index_t s = 0; s < 5; ++s) {
    double square = 0;
    std::vector<double> expected(16, 0);
    for (std::size_t j = 0; j < 16; ++j) {
      for (index_t i = batch.rows.first(s); i < batch.rows.first(s + 1); ++i)
        expected[j] += h(i, static_cast<index_t>(j)) / static_cast<double>(batch.rows.length(s));
      square += expected[j] * expected[j];
    }
    for (std::size_t j = 0; j < 16; ++j) {
      CHECK(mean(s, static_cast<index_t>(j)) == Approx(expected[j]));
      CHECK(unit(s, static_cast<index_t>(j)) == Approx(expected[j] / std::sqrt(square)));
    }
  }
}

TEMPLATE_TEST_CASE("a sentence encoder has the gradients of its formula", "", strategies::full,
                   biases_trained, low_rank_at_top) {
  using B = cpu<double>;
  const bert_config c = small_bert();
  sentence_encoder_network<B, TestType> network(c);
  prepare(network, 1);
  const token_batch batch = small_batch(c);
  check_network(network, batch, batch.rows);
}

// GRAFT_MINILM is the folder of sentence-transformers/all-MiniLM-L6-v2.
TEST_CASE("all-MiniLM-L6-v2 gives the vectors that transformers gives") {
  const char* folder = std::getenv("GRAFT_MINILM");
  if (!folder) {
    std::cout << "GRAFT_MINILM names no folder of all-MiniLM-L6-v2: its vectors are not checked\n";
    SUCCEED();
    return;
  }
  using B = cpu<float>;
  const auto model = load_sentence_encoder<B>(folder);
  golden peer("minilm_sentences");
  const token_batch batch = golden_batch(peer, model.config);
  REQUIRE(batch.rows.sequences() == 50);
  host_workspace memory;
  const auto vectors = model.encode(batch, {memory, batch.rows});
  CHECK(error_of(elements(vectors), peer.values("embeddings")) <= 1e-5);
}

}  // namespace graft_test
