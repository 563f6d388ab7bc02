// SPDX-License-Identifier: MIT
// model/pre_norm_layer.hpp, model/normed.hpp, model/pre_norm_stack.hpp
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/pre_norm_layer.hpp>
#include <graft/model/pre_norm_stack.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <string>
#include <type_traits>
#include <vector>

#include "static/keeps_nothing.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"
#include "support/small_bert.hpp"

namespace graft_test::pre_norm_layer_tests {

namespace {

using B = cpu<double>;

struct norms_trained {
  static constexpr recipe rules{on(at::norm, train{})};
};
// Each of these trains one place, so that each of the layer's demands is the lowest one once.
struct lower_norm_trained {
  static constexpr recipe rules{on(at::attention_norm, train{})};
};
struct upper_norm_trained {
  static constexpr recipe rules{on(at::feed_forward_norm, train{})};
};
struct key_updated {
  static constexpr recipe rules{on(at::key, lora{.rank = 2})};
};
struct output_updated {
  static constexpr recipe rules{on(at::feed_forward_output, lora{.rank = 2})};
};
template <site auto Where, auto What>
struct adapted {
  static constexpr recipe rules{on(Where, What)};
};

constexpr bottleneck beside{.width = 3, .place = placement::parallel};
constexpr bottleneck before_place{.width = 3, .place = placement::before};
constexpr bottleneck plain_adapter{.width = 3};
constexpr bottleneck normed_before{.width = 3, .ln_before = true};
constexpr bottleneck normed_after{.width = 3, .ln_after = true};
constexpr bottleneck normed_with_residual{
    .width = 3, .ln_after = true, .adapter_residual_before_ln = true};
constexpr bottleneck of_output{.width = 3, .original_ln_before = false};
constexpr bottleneck without_join{
    .width = 3, .original_ln_before = false, .original_ln_after = false};
constexpr bottleneck over_input{.width = 3, .residual = adapter_residual::input};
constexpr bottleneck over_sum{.width = 3, .residual = adapter_residual::post_add};

template <class T>
using layer_of = pre_norm_layer<B, scope<T>>;
template <class T>
using stack_of = pre_norm_stack<B, scope<T>>;

const transformer_config small{.width = 6,
                               .layers = 3,
                               .heads = 2,
                               .inner = 7,
                               .epsilon = 1e-5,
                               .hidden_dropout = 0.2,
                               .attention_dropout = 0.3};

const layout rows = sequences({1, 4, 3});

template <class T>
void check_layer_of(bool training = true) {
  check_layer(layer_of<T>(small), rows, training);
}

// L(x), with nothing kept.
template <class L>
B::tensor applied(const L& layer, const B::tensor& x, const context<B>& k) {
  cache_t<L, nothing_wanted> none{};
  return layer.template forward<nothing_wanted>(x, none, k);
}
B::tensor sum(const B::tensor& a, const B::tensor& b, const context<B>& k) {
  B::tensor y = k.copy(a);
  B::add(y, b);
  return y;
}

bert_config small_pre_norm_bert() {
  bert_config c = small_bert(bert_family::roberta_prelayernorm);
  c.first_position = 2;
  return c;
}

template <class T>
void check_classifier(bool training = false) {
  const bert_config c = small_pre_norm_bert();
  bert_classifier_network<B, T, norm_order::before> network(c, 2);
  check_network(network, small_batch(c), small_batch(c).rows, training);
}

}  // namespace

TEST_CASE("a pre-LN layer normalises what its sub-layers read and adds what they give") {
  layer_of<adapted<at::feed_forward, beside>> layer(small);
  randomize(layer);
  host_workspace memory;
  const context<B> k{memory, rows};
  const B::tensor x = random_tensor<B>(memory, rows.rows(), 6, 3);

  const B::tensor h = applied(layer.attention.base, applied(layer.attention.norm, x, k), k);
  const B::tensor a = sum(x, h, k);
  const auto& block = layer.feed_forward.base;
  const B::tensor f = applied(block.base, applied(block.norm, a, k), k);
  const B::tensor y = sum(sum(a, f, k), applied(layer.feed_forward.adapter, a, k), k);
  const auto found = values_of(applied(layer, x, k)), expected = values_of(y);
  CHECK(relative_error(found, expected) < 1e-12);
  // … and the norms do act.
  CHECK(relative_error(values_of(applied(layer.attention.base, x, k)), values_of(h)) > 1e-3);
}

TEST_CASE("an adapter in a pre-LN join reads the sum, and its options have no norm to move") {
  host_workspace memory;
  const context<B> k{memory, rows};
  const B::tensor h = random_tensor<B>(memory, rows.rows(), 6, 3),
                  t = random_tensor<B>(memory, rows.rows(), 6, 4);
  const auto check = [&]<bottleneck What>(const auto& expected) {
    typename layer_of<adapted<at::attention_join, What>>::attention_join_type join(add<B>{6}, What);
    randomize(join);
    cache_t<decltype(join), nothing_wanted> none{};
    const auto y = join.template join<nothing_wanted>(h, t, none, k);
    const auto adapter = [&](const B::tensor& x) { return applied(join.adapter, x, k); };
    CHECK(relative_error(values_of(y), values_of(expected(adapter))) < 1e-12);
  };
  const B::tensor u = sum(h, t, k);
  check.operator()<plain_adapter>([&](auto A) { return sum(A(u), u, k); });
  check.operator()<of_output>([&](auto A) { return sum(A(h), u, k); });
  check.operator()<without_join>([&](auto A) { return sum(A(h), h, k); });
  check.operator()<over_input>([&](auto A) { return sum(A(u), sum(u, t, k), k); });
}

TEST_CASE("a pre-LN layer has the gradients of its formula") {
  check_layer_of<everything_trained>(false);
  check_layer_of<everything_trained>(true);
}

TEST_CASE("a pre-LN layer has the gradients of whatever is trained in it") {
  check_layer_of<untuned>();
  check_layer_of<biases_trained>();
  check_layer_of<norms_trained>();
  check_layer_of<lower_norm_trained>();
  check_layer_of<upper_norm_trained>();
  check_layer_of<key_updated>();
  check_layer_of<output_updated>();
}

TEST_CASE("adapters at the sub-layers of a pre-LN layer have the gradients of their formulas") {
  check_layer_of<adapted<at::attention, plain_adapter>>();
  check_layer_of<adapted<at::feed_forward, plain_adapter>>();
  check_layer_of<adapted<at::feed_forward, before_place>>();
  check_layer_of<adapted<at::attention, beside>>();
  check_layer_of<adapted<at::feed_forward, beside>>();
}

TEST_CASE("adapters in the joins of a pre-LN layer have the gradients of their formulas") {
  check_layer_of<adapted<at::attention_join, plain_adapter>>();
  check_layer_of<adapted<at::feed_forward_join, plain_adapter>>();
  check_layer_of<adapted<at::feed_forward_join, normed_before>>();
  check_layer_of<adapted<at::feed_forward_join, normed_after>>();
  check_layer_of<adapted<at::feed_forward_join, normed_with_residual>>();
  check_layer_of<adapted<at::attention_join, of_output>>();
  check_layer_of<adapted<at::feed_forward_join, without_join>>();
  check_layer_of<adapted<at::feed_forward_join, over_input>>();
  check_layer_of<adapted<at::feed_forward_join, over_sum>>();
}

TEST_CASE("a pre-LN layer keeps nothing below its lowest trained place") {
  using feed_forward_adapted = adapted<at::feed_forward, plain_adapter>;
  using caches = cache_t<layer_of<feed_forward_adapted>, parameters_wanted>;
  STATIC_REQUIRE(keeps_nothing<decltype(caches::attention)>);
  STATIC_REQUIRE(keeps_nothing<decltype(caches::feed_forward.base)>);
  STATIC_REQUIRE(!keeps_nothing<decltype(caches::feed_forward.adapter)>);
  STATIC_REQUIRE(keeps_nothing<decltype(caches::feed_forward_join)>);
  STATIC_REQUIRE(keeps_nothing<cache_t<layer_of<untuned>, parameters_wanted>>);

  // A frozen norm is kept for where a gradient passes it, a trained one always.
  using inside = decltype(cache_t<layer_of<output_updated>, parameters_wanted>::feed_forward);
  STATIC_REQUIRE(keeps_nothing<decltype(inside::norm)>);
  STATIC_REQUIRE(!keeps_nothing<decltype(inside::base)>);
  using passed = decltype(cache_t<layer_of<key_updated>, parameters_wanted>::feed_forward);
  STATIC_REQUIRE(!keeps_nothing<decltype(passed::norm)>);
  using trained = decltype(cache_t<layer_of<upper_norm_trained>, parameters_wanted>::feed_forward);
  STATIC_REQUIRE(!keeps_nothing<decltype(trained::norm)>);
  // Joins that add keep nothing, whatever is asked of them.
  using full = cache_t<layer_of<everything_trained>, all_wanted>;
  STATIC_REQUIRE(keeps_nothing<decltype(full::attention_join)>);
  STATIC_REQUIRE(keeps_nothing<decltype(full::feed_forward_join)>);

  // Below the lowest trained sub-layer backward does not go.
  STATIC_REQUIRE(!layer_of<upper_norm_trained>::of_feed_forward<parameters_wanted>.input);
  STATIC_REQUIRE(layer_of<lower_norm_trained>::of_feed_forward<parameters_wanted>.input);
}

namespace {

struct top_updated {
  static constexpr recipe rules{on(at::query, lora{.rank = 2}, top(2))};
};
struct last_norm_trained {
  static constexpr recipe rules{on(at::encoder_norm, train{})};
};

}  // namespace

TEST_CASE("a pre-LN stack has the gradients of its layers and of the norm that ends it") {
  check_layer(stack_of<untuned>(small), rows, 6);
  check_layer(stack_of<top_updated>(small), rows, 6);
  check_layer(stack_of<last_norm_trained>(small), rows, 6);
  check_layer(stack_of<everything_trained>(small), rows, 6, true);
}

TEST_CASE("the norm that ends a pre-LN stack is kept only where it is trained or gone through") {
  STATIC_REQUIRE(keeps_nothing<decltype(cache_t<stack_of<untuned>, parameters_wanted>::norm)>);
  using passed = cache_t<stack_of<top_updated>, parameters_wanted>;
  STATIC_REQUIRE(!keeps_nothing<decltype(passed::norm)>);
  using caches = cache_t<stack_of<last_norm_trained>, parameters_wanted>;
  STATIC_REQUIRE(!keeps_nothing<decltype(caches::norm)>);
  STATIC_REQUIRE(!stack_of<last_norm_trained>::of_norm<parameters_wanted>.input);
  STATIC_REQUIRE(std::is_same_v<gradient_t<stack_of<untuned>>, nothing>);
  using gradient = gradient_t<stack_of<top_updated>>;
  STATIC_REQUIRE(std::is_same_v<decltype(gradient::norm), nothing>);
}

TEST_CASE("a pre-LN classifier has the gradients of its formula") {
  check_classifier<everything_trained>();
  check_classifier<everything_trained>(true);
  check_classifier<norms_trained>();
  check_classifier<top_updated>();
}

TEST_CASE("the norms of a pre-LN classifier have paths of their own") {
  const bert_classifier<B, untuned, norm_order::before> model(small_pre_norm_bert(), {"a", "b"});
  std::vector<std::string> norms;
  for (const auto& p : list_parts(model.network).parameters)
    if (p.kind == parameter_kind::norm_weight)
      norms.push_back(p.path);
  CHECK(norms == std::vector<std::string>{
                     "embeddings.norm.weight", "layer.0.attention.norm.weight",
                     "layer.0.feed_forward.norm.weight", "layer.1.attention.norm.weight",
                     "layer.1.feed_forward.norm.weight", "layer.2.attention.norm.weight",
                     "layer.2.feed_forward.norm.weight", "encoder_norm.weight"});
}

TEST_CASE("a model whose layers have another order than its family's is refused") {
  using Catch::Matchers::Contains;
  using post_norm = bert<B, untuned>;
  using pre_norm = bert<B, untuned, norm_order::before>;
  CHECK_THROWS_WITH(post_norm(small_pre_norm_bert()),
                    Contains("expected a family with norm_order::after") &&
                        Contains("found roberta_prelayernorm"));
  CHECK_THROWS_WITH(pre_norm(small_bert(bert_family::roberta)),
                    Contains("expected a family with norm_order::before") &&
                        Contains("found one with norm_order::after"));
}

}  // namespace graft_test::pre_norm_layer_tests
