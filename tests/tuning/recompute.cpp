// SPDX-License-Identifier: MIT
// tuning/recompute.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/prefix.hpp>
#include <graft/tuning/recompute.hpp>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "static/keeps_nothing.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::recompute_tests {

namespace {

using B = cpu<double>;

constexpr lora low_rank{.rank = 2, .dropout = 0.3f};
constexpr bottleneck beside_feed_forward{.width = 3, .place = placement::parallel, .dropout = 0.3f};

struct kept {
  static constexpr recipe rules{on(at::query | at::value, low_rank),
                                on(at::feed_forward, beside_feed_forward), on(at::head, train{})};
};
struct by_layer {
  static constexpr recipe rules{on(at::query | at::value, low_rank),
                                on(at::feed_forward, beside_feed_forward),
                                on(at::layer, recompute{}), on(at::head, train{})};
};
struct by_part {
  static constexpr recipe rules{
      on(at::query | at::value, low_rank), on(at::feed_forward, beside_feed_forward),
      on(at::attention | at::feed_forward | at::query, recompute{}), on(at::head, train{})};
};
struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct full_by_layer {
  static constexpr recipe rules{on(at::everything, train{}), on(at::layer, recompute{})};
};
struct top_only {
  static constexpr recipe rules{on(at::layer, recompute{}), on(at::query, low_rank, top(1))};
};
struct recomputed_prefix {
  static constexpr recipe rules{on(at::memory, prefix{.tokens = 2}), on(at::layer, recompute{})};
};

// What a step of a network makes, with dropout on.
struct taken {
  std::vector<double> logits, gradients;
  std::size_t kept_bytes, peak_bytes;
};
template <class T>
taken step() {
  using network_type = bert_classifier_network<B, T>;
  const bert_config c = small_bert();
  network_type network(c, 3);
  prepare(network, 5);
  random_stream random(6, 7);
  for (const auto& p : list_parts(network).parameters)
    if (p.path.ends_with("lora.b") || p.path.ends_with("up.weight"))
      for (index_t i = 0; i < p.size(); ++i)
        p.parameter->data[i] = random.normal();
  const auto store = gather(network);
  auto gradient = make_gradient(network, store);
  const token_batch batch = small_batch(c);
  host_workspace memory;
  const context<B> k{memory, batch.rows, true, 3, 1};
  cache_t<network_type, parameters_wanted> cache;
  auto y = network.template forward<parameters_wanted>(batch, cache, k);
  taken t{values_of<double>(y), {}, memory.bytes_in_use(), 0};
  network.template backward<parameters_wanted>(std::move(y), cache, &gradient.gradient, k);
  for (const segment& s : store.segments)
    for (index_t i = 0; i < s.size(); ++i)
      t.gradients.push_back(gradient.values.data[s.offset + i]);
  t.peak_bytes = memory.peak_bytes();
  return t;
}

}  // namespace

TEST_CASE("a layer that computes again has the gradients of its formula") {
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  check_layer(recompute_layer(linear<B>(5, 4)), rows, training);
  check_layer(recompute_layer(frozen(linear<B>(5, 4))), rows, training);
  check_layer(recompute_layer(biases_only(toy_layer<B>(5))), rows, training);
  check_layer(recompute_layer(lora_layer<frozen<linear<B>>, 2>(frozen(linear<B>(5, 4)), low_rank)),
              rows, training);
  check_layer(lora_layer<recompute_layer<linear<B>>, 2>(recompute_layer(linear<B>(5, 4)), low_rank),
              rows, training);
  check_layer(recompute_layer(self_attention<B, scope<full>>(6, 2, 0.3, 0.2)), rows, training);
  check_layer(recompute_layer(self_attention<B, scope<recomputed_prefix>>(6, 2, 0.3, 0.2)), rows,
              training);
}

TEST_CASE("computing again gives the same bits and keeps less") {
  const taken all = step<kept>(), layers = step<by_layer>(), parts = step<by_part>();
  CHECK(layers.logits == all.logits);
  CHECK(parts.logits == all.logits);
  CHECK(layers.gradients == all.gradients);
  CHECK(parts.gradients == all.gradients);
  CHECK(3 * layers.kept_bytes < all.kept_bytes);
  CHECK(parts.kept_bytes < all.kept_bytes);
  CHECK(layers.peak_bytes < all.peak_bytes);

  const taken trained = step<full>(), trained_again = step<full_by_layer>();
  CHECK(trained_again.logits == trained.logits);
  CHECK(trained_again.gradients == trained.gradients);
  CHECK(2 * trained_again.kept_bytes < trained.kept_bytes);
}

TEST_CASE("a layer that computes again keeps one input, and none where backward does not enter") {
  host_workspace memory;
  const layout rows = sequences({4});
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 4, 6, 1);
  const std::size_t before = memory.bytes_in_use();
  using L = recompute_layer<self_attention<B, scope<full>>>;
  const L layer(self_attention<B, scope<full>>(6, 2));
  cache_t<L, parameters_wanted> cache;
  layer.forward<parameters_wanted>(x, cache, k);
  CHECK(memory.bytes_in_use() == before);
  CHECK(cache.x.data == x.data);

  STATIC_REQUIRE(keeps_nothing<cache_t<L, nothing_wanted>>);
  using still = recompute_layer<frozen<linear<B>>>;
  STATIC_REQUIRE(keeps_nothing<cache_t<still, parameters_wanted>>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<still>, nothing>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, gradient_t<self_attention<B, scope<full>>>>);
  using low = stack<B, scope<top_only>, transformer_layer>::block<0>;
  STATIC_REQUIRE(keeps_nothing<cache_t<low, parameters_wanted>>);
}

TEST_CASE("a layer that computes again has the sizes, names and nature of its base") {
  STATIC_REQUIRE(dense_layer<recompute_layer<linear<B>>>);
  using adapted = bottleneck_layer<linear<B>, placement::after>;
  STATIC_REQUIRE(sized_layer<recompute_layer<adapted>>);
  STATIC_REQUIRE(!dense_layer<recompute_layer<adapted>>);
  recompute_layer layer(linear<B>(5, 4));
  std::vector<std::string> paths;
  for (const segment& s : gather(layer).segments)
    paths.push_back(s.path);
  CHECK(paths == std::vector<std::string>{"weight", "bias"});
}

}  // namespace graft_test::recompute_tests
