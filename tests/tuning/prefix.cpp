// SPDX-License-Identifier: MIT
// tuning/prefix.hpp, tuning/prefix_rows.hpp, tuning/prefix_positions.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/memory.hpp>
#include <graft/model/attention.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/prefix.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

using ids = std::vector<std::int32_t>;
using id_span = std::span<const std::int32_t>;

constexpr auto by_mlp = prompt_encoder::mlp;

// As on(at::memory, Spec), which clang 14 does not evaluate in a template.
template <prefix Spec>
constexpr rule<selection<at::memory_t>, prefix> memory_rule{Spec, {}};

template <prefix Spec>
struct with_memory {
  static constexpr recipe rules{memory_rule<Spec>};
};
template <prefix Spec>
struct with_all_trained {
  static constexpr recipe rules{on(at::everything, train{}), memory_rule<Spec>};
};
template <prefix Spec>
struct with_lora {
  static constexpr recipe rules{memory_rule<Spec>, on(at::query, lora{.rank = 2})};
};
template <prefix Spec>
struct with_key_trained {
  static constexpr recipe rules{memory_rule<Spec>, on(at::key, train{})};
};

struct behind {
  static constexpr recipe rules{on(at::memory | at::position, prefix{.tokens = 3})};
};

constexpr prefix plain_prefix{.tokens = 2},
    encoded_prefix{.tokens = 3, .encoder = by_mlp, .hidden = 4},
    gated_once{.tokens = 2, .gate = prefix_gate::one},
    gated_twice{.tokens = 2, .encoder = by_mlp, .hidden = 3, .gate = prefix_gate::two};

template <class B, class T>
using attention_of = self_attention<B, scope<T>>;

template <class B, template <prefix> class Tuning>
void check_all(const layout& rows, bool training) {
  check_layer(attention_of<B, Tuning<plain_prefix>>(6, 2, 0.3, 0.2), rows, training);
  check_layer(attention_of<B, Tuning<encoded_prefix>>(6, 2, 0.3, 0.2), rows, training);
  check_layer(attention_of<B, Tuning<gated_once>>(6, 2, 0.3, 0.2), rows, training);
  check_layer(attention_of<B, Tuning<gated_twice>>(6, 2, 0.3, 0.2), rows, training);
}

}  // namespace

TEMPLATE_TEST_CASE("attention with a prefix has the gradients of its formula", "", cpu<double>) {
  check_all<TestType, with_memory>(sequences({1, 4, 3}), false);
  check_all<TestType, with_memory>(sequences({1, 4, 3}), true);
  check_all<TestType, with_all_trained>(sequences({2, 3}), true);
}

TEST_CASE("a prefix leaves what else is trained in attention its gradients") {
  check_all<cpu<double>, with_lora>(sequences({1, 4, 3}), true);
  check_all<cpu<double>, with_key_trained>(sequences({3}), false);
}

TEST_CASE("a network with prefixes has the gradients of its formula, shared parts and all") {
  using B = cpu<double>;
  const token_batch batch = small_batch();
  bert_classifier_network<B, with_memory<encoded_prefix>> encoded_network(small_bert(), 3);
  check_network(encoded_network, batch, batch.rows, true);
  bert_classifier_network<B, with_all_trained<gated_twice>> all(small_bert(), 3);
  check_network(all, batch, batch.rows, true);
}

TEST_CASE("attention sees the prefix before a sequence's own keys and values") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({2, 1});
  const context<B> k{memory, rows};
  prefix_layer layer(no_memory<B>{1}, prefix{.tokens = 2});
  layer.prefix.keys(0, 0) = 10, layer.prefix.keys(1, 0) = 11;
  layer.prefix.values(0, 0) = 20, layer.prefix.values(1, 0) = 21;
  const auto column = [&](std::initializer_list<double> values) {
    auto x = B::make(memory, static_cast<index_t>(values.size()), 1);
    std::copy(values.begin(), values.end(), x.data);
    return x;
  };
  cache_t<decltype(layer), nothing_wanted> cache;
  const auto kv = layer.extend<nothing_wanted>({column({1, 2, 3}), column({4, 5, 6})},
                                               column({0, 0, 0}), cache, k);
  CHECK(values_of<double>(kv.keys) == std::vector<double>{10, 11, 1, 2, 10, 11, 3});
  CHECK(values_of<double>(kv.values) == std::vector<double>{20, 21, 4, 5, 20, 21, 6});
  CHECK(layer.key_rows(cache, k).offsets == std::vector<index_t>{0, 4, 7});
}

TEST_CASE("gates are the mean of each sequence, and scale keys and values") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({2, 1});
  const context<B> k{memory, rows};
  prefix_layer<no_memory<B>, prompt_encoder::none, true> layer(
      no_memory<B>{1}, prefix{.tokens = 1, .gate = prefix_gate::two});
  layer.prefix.keys(0, 0) = 10, layer.prefix.values(0, 0) = 20;
  layer.gate.map.weight(0, 0) = 1, layer.gate.map.weight(1, 0) = -2;
  layer.gate.map.bias(0, 1) = 0.5;
  auto x = B::make(memory, 3, 1);
  x(0, 0) = 0, x(1, 0) = 3, x(2, 0) = -1;
  const auto open = [](double z) { return 1 / (1 + std::exp(-z)); };
  cache_t<decltype(layer), nothing_wanted> cache;
  const auto kv = layer.extend<nothing_wanted>({x, x}, x, cache, k);
  CHECK(kv.keys(0, 0) == Approx(10 * (open(0) + open(3)) / 2));
  CHECK(kv.keys(3, 0) == Approx(10 * open(-1)));
  CHECK(kv.values(0, 0) == Approx(20 * (open(0.5) + open(-5.5)) / 2));
  CHECK(kv.values(3, 0) == Approx(20 * open(2.5)));
}

TEST_CASE("behind a prefix positions begin later, and fewer are left") {
  using B = cpu<double>;
  embedding<B> table(6, 4);
  randomize(table);
  prefix_positions<embedding<B>> shifted(table, prefix{.tokens = 2});
  CHECK(shifted.entries() == 4);
  host_workspace memory;
  const layout rows = sequences({3});
  const ids positions{0, 1, 3}, later{2, 3, 5};
  cache_t<prefix_positions<embedding<B>>, nothing_wanted> none;
  cache_t<embedding<B>, nothing_wanted> none_either;
  CHECK(values_of<double>(
            shifted.forward<nothing_wanted>(id_span(positions), none, {memory, rows})) ==
        values_of<double>(
            table.forward<nothing_wanted>(id_span(later), none_either, {memory, rows})));
  check_network(shifted, id_span(positions), rows);

  const bert_config c = small_bert();  // seven positions
  bert_classifier_network<B, behind> network(c, 2);
  prepare(network, 1);
  CHECK(network.bert.longest(c) == 4);
  token_batch batch;
  batch.append(ids(5, 1), {}, 0, 0);
  cache_t<bert_classifier_network<B, behind>, nothing_wanted> cache;
  CHECK_THROWS_AS(network.forward<nothing_wanted>(batch, cache, {memory, batch.rows}), input_error);
  prepare(network, 1, {{"tokens", 2}});
  CHECK(network.bert.longest(c) == 5);
  CHECK(network.forward<nothing_wanted>(batch, cache, {memory, batch.rows}).rows == 1);
}

TEST_CASE("the layers of an encoded prefix share its rows and its first map") {
  using B = cpu<double>;
  bert_classifier_network<B, with_memory<encoded_prefix>> network(small_bert(), 2);
  prepare(network, 1);
  const auto store = gather(network);
  std::vector<std::string> paths;
  for (const segment& s : store.segments)
    paths.push_back(s.path);
  CHECK(paths ==
        std::vector<std::string>{
            "prefix.embedding", "prefix.down.weight", "prefix.down.bias",
            "layer.0.attention.memory.prefix.up.weight", "layer.0.attention.memory.prefix.up.bias",
            "layer.1.attention.memory.prefix.up.weight", "layer.1.attention.memory.prefix.up.bias",
            "layer.2.attention.memory.prefix.up.weight",
            "layer.2.attention.memory.prefix.up.bias"});
  CHECK(store.count() == 3 * 8 + 4 * 8 + 4 + 3 * (16 * 4 + 16));
}

TEST_CASE("fresh prefixes are normal, or zero, and the zeros are attended to") {
  using B = cpu<double>;
  random_stream random(3);
  const auto keys = [&](auto layer) {
    layer.initialize(random);
    host_workspace memory;
    const layout none;
    cache_t<std::remove_cvref_t<decltype(layer.prefix)>, nothing_wanted> cache;
    return values_of<double>(
        layer.prefix.template forward<nothing_wanted>(cache, context<B>{memory, none}).keys);
  };
  const no_memory<B> base{40};
  const auto squares = [](const std::vector<double>& v) {
    double sum = 0;
    for (double x : v)
      sum += x * x;
    return sum / static_cast<double>(v.size());
  };
  CHECK(squares(keys(prefix_layer(base, prefix{}))) == Approx(1).epsilon(0.1));
  CHECK(largest(keys(prefix_layer(base, prefix{.init = prefix_init::zero}))) == 0);
  using encoded_layer = prefix_layer<no_memory<B>, by_mlp>;
  CHECK(largest(keys(encoded_layer(base, prefix{.encoder = by_mlp}))) > 0);
  CHECK(largest(keys(encoded_layer(base, prefix{.encoder = by_mlp, .init = prefix_init::zero}))) ==
        0);
}

TEST_CASE("a prefix takes the numbers of a file") {
  using B = cpu<float>;
  prefix_layer layer(no_memory<B>{6}, prefix{.tokens = 2});
  layer.renumber({{"tokens", 5}});
  CHECK(layer.prefix.keys.rows == 5);
  CHECK(layer.prefix.values.cols == 6);
  CHECK_THROWS_AS(layer.renumber({{"hidden", 3}}), input_error);
  prefix_layer<no_memory<B>, by_mlp> other(no_memory<B>{6}, prefix{.tokens = 2, .encoder = by_mlp});
  CHECK(other.numbers().find("hidden") == 6);
  other.renumber({{"hidden", 3}});
  CHECK(other.prefix.up.weight.rows == 12);
  CHECK(other.prefix.up.weight.cols == 3);
  CHECK_THROWS_AS(other.renumber({{"hidden", 0}}), input_error);
  CHECK_THROWS_AS(other.renumber({{"tokens", 0}}), input_error);
}

TEST_CASE("without a prefix attention is what it was, and its lowest prefix asks for no more") {
  using B = cpu<float>;
  using bare = attention_of<B, untuned>;
  STATIC_REQUIRE(std::is_same_v<bare::memory_type, no_memory<B>>);
  STATIC_REQUIRE(std::is_empty_v<cache_t<bare::memory_type, all_wanted>>);
  using extended = attention_of<B, with_memory<plain_prefix>>;
  STATIC_REQUIRE(extended::passed<parameters_wanted>);
  STATIC_REQUIRE(!extended::of_memory<parameters_wanted>.input);
  STATIC_REQUIRE(!extended::passed<nothing_wanted>);
  STATIC_REQUIRE(
      attention_of<B, with_key_trained<plain_prefix>>::of_memory<parameters_wanted>.input);
  // The keys and values of the tokens are handed on, not copied.
  host_workspace memory;
  const layout rows = sequences({2});
  const auto x = random_tensor<B>(memory, 2, 4, 1);
  cache_t<no_memory<B>, all_wanted> none;
  const auto kv = no_memory<B>{4}.extend<all_wanted>({x, x}, x, none, {memory, rows});
  CHECK(kv.keys.data == x.data);
  CHECK(kv.values.data == x.data);
}

}  // namespace graft_test
