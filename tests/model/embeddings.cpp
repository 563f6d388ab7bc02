// SPDX-License-Identifier: MIT
// model/embeddings.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/embeddings.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

struct norm_trained {
  static constexpr recipe rules{on(at::embedding_norm, train{})};
};
struct words_trained {
  static constexpr recipe rules{on(at::word, train{})};
};

template <class B, class T>
using embeddings_of = embeddings<B, scope<T>>;

template <class L>
void check(bert_family family) {
  const bert_config c = small_bert(family);
  L layer(c);
  const token_batch batch = small_batch(c);
  check_network(layer, batch, batch.rows, false);
  check_network(layer, batch, batch.rows, true);
}

}  // namespace

TEMPLATE_TEST_CASE("embeddings have the gradients of their formula in every family", "",
                   cpu<double>, reference<double>) {
  using L = embeddings_of<TestType, everything_trained>;
  check<L>(bert_family::bert);
  check<L>(bert_family::roberta);
  check<L>(bert_family::distilbert);
}

TEST_CASE("embeddings have the gradients of whatever is trained in them") {
  check<embeddings_of<cpu<double>, norm_trained>>(bert_family::bert);
  check<embeddings_of<cpu<double>, biases_trained>>(bert_family::bert);
  check<embeddings_of<cpu<double>, words_trained>>(bert_family::bert);
}

TEST_CASE("embeddings refuse a sequence that is longer than their positions") {
  using B = reference<double>;
  using L = embeddings_of<B, untuned>;
  L layer(small_bert());
  randomize(layer);
  host_workspace memory;
  cache_t<L, nothing_wanted> none;
  const auto forward = [&](index_t length) {
    token_batch batch;
    batch.append(std::vector<std::int32_t>(static_cast<std::size_t>(length), 1), {}, 0, 0);
    return layer.forward<nothing_wanted>(batch, none, {memory, batch.rows}).rows;
  };
  CHECK(forward(7) == 7);
  CHECK_THROWS_AS(forward(8), input_error);
}

TEST_CASE("embeddings keep nothing where nothing of them is trained") {
  using L = embeddings_of<cpu<float>, untuned>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, nothing>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, parameters_wanted>>);
}

}  // namespace graft_test
