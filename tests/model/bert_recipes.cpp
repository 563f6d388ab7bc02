// SPDX-License-Identifier: MIT
// A whole BERT under the recipes of the literature.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::bert_recipes_tests {

namespace {

using B = cpu<double>;

struct low_rank {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2, .dropout = 0.2f}),
                                on(at::head, train{})};
};
struct houlsby {
  static constexpr recipe rules{
      on(at::attention | at::feed_forward, bottleneck{.width = 3, .dropout = 0.2f}),
      on(at::head, train{})};
};
struct pfeiffer {
  static constexpr recipe rules{
      on(at::feed_forward_join, bottleneck{.width = 3, .activation = activation::gelu}),
      on(at::head, train{})};
};
struct beside_feed_forward {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 3, .place = placement::parallel, .scale = 4}),
      on(at::head, train{})};
};
struct around {
  static constexpr recipe rules{
      on(at::layer, bottleneck{.width = 3, .place = placement::skip}, top(2))};
};
// Several methods at several depths, two on one site, over biases that are trained.
struct mixed {
  static constexpr recipe rules{
      on(at::projection, train{biases}, bottom(1)),
      on(at::query | at::feed_forward_input, lora{.rank = dynamic, .start_rank = 3}, top(2)),
      on(at::query, bottleneck{.width = 2, .place = placement::before, .inner = 3}, top(1)),
      on(at::attention_join, bottleneck{.width = 3}, top(2)),
      on(at::norm, train{}, top(1)),
      on(at::classifier, lora{.rank = 1}),
      on(at::classifier, train{biases})};
};

template <class T>
void check_gradients() {
  bert_classifier_network<B, T> network(small_bert(), 3);
  prepare(network, 1);
  const token_batch batch = small_batch();
  check_network(network, batch, batch.rows, true);
}

// A fresh adapter leaves the logits as they were, to the last bit.
template <class T>
void computes_the_base() {
  const auto logits = []<class U>(U) {
    const bert_classifier<B, U> m(small_bert(), {"no", "yes"}, 7);
    random_stream random(3);
    for (const auto& p : list_parts(m.network).parameters)
      if (p.path.find("lora.") == p.path.npos && p.path.find("adapter.") == p.path.npos)
        for (index_t i = 0; i < p.size(); ++i)
          const_cast<double*>(p.data())[i] = random.normal();
    host_workspace memory;
    const token_batch batch = small_batch();
    return values_of<double>(m.predict(batch, {memory, batch.rows}));
  };
  CHECK(logits(T{}) == logits(untuned{}));
}

}  // namespace

TEST_CASE("low-rank updates in a BERT") {
  check_gradients<low_rank>();
  computes_the_base<low_rank>();
}

TEST_CASE("Houlsby's bottlenecks in a BERT") {
  check_gradients<houlsby>();
  computes_the_base<houlsby>();
}

TEST_CASE("Pfeiffer's bottlenecks in a BERT") { check_gradients<pfeiffer>(); }

TEST_CASE("parallel bottlenecks in a BERT") {
  check_gradients<beside_feed_forward>();
  computes_the_base<beside_feed_forward>();
}

TEST_CASE("bottlenecks around the layers of a BERT") { check_gradients<around>(); }

TEST_CASE("several methods in one BERT") { check_gradients<mixed>(); }

TEST_CASE("below the lowest adapter a BERT keeps nothing and is not gone back through") {
  using N = bert_classifier_network<B, around>;
  using caches = decltype(cache_t<N::bert_type, training_demand>::layers);
  using lower = std::tuple_element_t<0, decltype(caches::of)>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<decltype(lower::above)::value_type>);
  STATIC_REQUIRE(std::is_same_v<decltype(lower::floor), nothing>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<
                 decltype(cache_t<N::bert_type, training_demand>::embeddings)>);
}

}  // namespace graft_test::bert_recipes_tests
