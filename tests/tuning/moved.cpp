// SPDX-License-Identifier: MIT
// tuning/moved.hpp, core/on_backend.hpp. Whole models: moved_models.cpp.
#include <graft/backend/cpu.hpp>
#include <graft/core/dense_form.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/heads.hpp>
#include <graft/model/pre_norm_layer.hpp>
#include <graft/model/transformer_layer.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/moved.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/vera.hpp>

#include <cstddef>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "static/keeps_nothing.hpp"
#include "support/catch.hpp"
#include "support/distant.hpp"
#include "support/emulated_device.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::moved_tests {

namespace {

using B = cpu<double>;

constexpr lora low_rank{.rank = 2, .alpha = 5, .dropout = 0.3f, .scaling = lora_scaling::over_root};
constexpr bottleneck beside{.width = 3,
                            .place = placement::parallel,
                            .activation = activation::silu,
                            .scale = 0.7f,
                            .dropout = 0.3f};

template <class To, class L>
moved_layer<L, To> to(L layer) {
  return moved_layer<L, To>(std::move(layer));
}
template <class L>
lora_layer<L, 2> updated(L layer) {
  return {std::move(layer), low_rank};
}

struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct adapted {
  static constexpr recipe rules{on(at::query | at::value, low_rank), on(at::feed_forward, beside),
                                on(at::feed_forward_input, ia3{}), on(at::norm, train{biases})};
};
struct of_rows {
  static constexpr recipe rules{
      on(at::query, vera{.rank = 3, .dropout = 0.3f}),
      on(at::value, adalora{.rank = 3, .target_rank = 2, .dropout = 0.3f}),
      on(at::attention_output,
         dora{.rank = 2, .alpha = 3, .dropout = 0.3f, .scaling = lora_scaling::over_root})};
};
struct gated {
  static constexpr recipe rules{on(at::query, lora{.rank = 2, .gating = true}),
                                on(at::key, lora{.rank = 2, .bias = true}),
                                on(at::feed_forward, bottleneck{.width = 4,
                                                                .inner = 3,
                                                                .scaling = adapter_scaling::channel,
                                                                .ln_before = true,
                                                                .ln_after = true,
                                                                .gating = true,
                                                                .stochastic_depth = 0.4f})};
};

// The output of a layer for a fixed input, and all that one step back says, with dropout on.
template <class L>
std::vector<double> step(L& layer, index_t columns) {
  using near = typename L::backend_type;
  typename near::workspace memory;
  const layout rows = sequences({1, 3, 2});
  const context<near> k{memory, rows, true, 3, 1};
  gradient_buffer<L> g = make_gradient(layer);
  const auto x = random_tensor<near>(memory, 6, columns, 7);
  cache_t<L, all_wanted> cache;
  auto y = layer.template forward<all_wanted>(x, cache, k);
  std::vector<double> all = values_of(y);
  const auto dx = layer.template backward<all_wanted>(std::move(y), cache, &g.gradient, k);
  for (const double v : values_of(dx))
    all.push_back(v);
  for (index_t i = 0; i < g.values.size(); ++i)
    all.push_back(static_cast<double>(g.values.data[i]));
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("a moved layer has the gradients of its formula", "", cpu<double>, distant) {
  using To = TestType;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  random_stream draw(3);
  check_layer(to<To>(linear<B>(5, 4)), rows, training);
  check_layer(to<To>(linear<B>(5, 4, false)), rows, training);
  check_layer(to<To>(frozen(linear<B>(5, 4))), rows, training);
  check_layer(to<To>(biases_only(linear<B>(5, 4))), rows, training);
  check_layer(to<To>(layer_norm<B>(6, 1e-5)), rows, training);
  check_layer(to<To>(updated(frozen(linear<B>(5, 4)))), rows, training);
  check_layer(updated(to<To>(frozen(linear<B>(5, 4)))), rows, training);
  check_layer(updated(to<To>(linear<B>(5, 4))), rows, training);
  check_layer(to<To>(vera_layer(frozen(linear<B>(5, 4)), vera{.rank = 3, .dropout = 0.3f}, draw)),
              rows, training);
  dora_layer<frozen<linear<B>>, 2> scaled(frozen(linear<B>(5, 4)),
                                          dora{.rank = 2, .dropout = 0.3f});
  randomize(scaled);
  scaled.hold_lengths();
  check_layer(to<To>(scaled), rows, training);
  check_layer(to<To>(recompute_layer(updated(frozen(linear<B>(5, 4))))), rows, training);
  check_layer(recompute_layer(to<To>(updated(frozen(linear<B>(5, 4))))), rows, training);
  bert_config c = small_bert();
  check_layer(to<To>(transformer_layer<B, scope<full>>(c)), rows, training);
  check_layer(to<To>(transformer_layer<B, scope<adapted>>(c)), rows, training);
  check_layer(to<To>(transformer_layer<B, scope<gated>>(c)), rows, training);
  check_layer(to<To>(pre_norm_layer<B, scope<adapted>>(c)), rows, training);
  c.family = bert_family::roberta;
  check_layer(to<To>(classification_head<B, scope<full>>(c, 3)), rows, training);
}

TEST_CASE("moved or not, the bits are the same where the backends compute alike") {
  using near = reference<double>;
  const auto check = [](auto layer) {
    prepare(layer, 5);
    randomize(layer);
    const auto expected = step(layer, layer.in());
    auto there = to<distant>(layer);
    CHECK(step(there, layer.in()) == expected);
    CHECK(step(there, layer.in()) == expected);
  };
  bert_config c = small_bert();
  c.activation = activation::tanh;
  check(transformer_layer<near, scope<full>>(c));
  check(transformer_layer<near, scope<adapted>>(c));
  check(transformer_layer<near, scope<gated>>(c));
  check(transformer_layer<near, scope<of_rows>>(c));
  check(pre_norm_layer<near, scope<adapted>>(c));
  check(classification_head<near, scope<full>>(c, 3));
  c.family = bert_family::roberta;
  check(classification_head<near, scope<full>>(c, 3));
  c.family = bert_family::distilbert;
  check(classification_head<near, scope<full>>(c, 3));
}

TEST_CASE("a moved layer follows its parameters and its numbers") {
  auto layer = to<distant>(updated(frozen(linear<B>(5, 4))));
  auto same = updated(frozen(linear<B>(5, 4)));
  const auto check = [&] {
    randomize(layer, 3);
    randomize(same, 3);
    CHECK(relative_error(step(layer, 5), step(same, 5)) < 1e-12);
  };
  check();
  const auto before = step(layer, 5);
  const auto numbers = [&](const decoration_numbers& n) {
    layer.base.renumber(n);
    same.renumber(n);
    check();
    CHECK(step(layer, 5) != before);
  };
  numbers({{"alpha", 11}, {"dropout", 0.5}});
  layer.base.placed(9);
  same.placed(9);
  check();
  linear<B> other(5, 4);
  randomize(other, 8);
  layer.base.base.weight = other.weight;
  same.base.weight = other.weight;
  CHECK(relative_error(step(layer, 5), step(same, 5)) < 1e-12);

  auto leaves = to<distant>(bottleneck_layer<frozen<linear<B>>, placement::parallel,
                                             adapter_branch<B, beside.form(), linear_maps<B>>>(
      frozen(linear<B>(5, 4)), beside));
  randomize(leaves, 3);
  step(leaves, 5);
  leaves.base.dropped = true;
  auto left = leaves.base;
  CHECK(relative_error(step(leaves, 5), step(left, 5)) < 1e-12);

  auto grows = to<distant>(lora_layer<frozen<linear<B>>>(frozen(linear<B>(5, 4)), lora{}));
  randomize(grows, 3);
  step(grows, 5);
  grows.base.renumber({{"rank", 3}});
  randomize(grows, 3);
  auto grown = lora_layer<frozen<linear<B>>>(frozen(linear<B>(5, 4)),
                                             lora{.rank = dynamic, .start_rank = 3});
  randomize(grown, 3);
  CHECK(relative_error(step(grows, 5), step(grown, 5)) < 1e-12);
}

TEST_CASE("copies of a moved layer go their own ways") {
  auto layer = to<distant>(linear<B>(5, 4));
  randomize(layer, 3);
  const auto first = step(layer, 5);
  auto copy = layer;
  copy.base.weight = linear<B>(5, 4).weight;
  CHECK(step(copy, 5) != first);
  CHECK(step(layer, 5) == first);
  auto taken = std::move(layer);
  CHECK(step(taken, 5) == first);
}

TEST_CASE("what crosses is counted") {
  auto layer = to<distant>(updated(frozen(linear<B>(5, 4))));
  randomize(layer, 3);
  const auto store = gather(layer);
  gradient_buffer<decltype(layer)> g = make_gradient(layer, store);
  B::workspace memory;
  const layout rows = sequences({4});
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 4, 5, 1);
  const auto crossed = [&](auto&& does) {
    const int arrived = distant::arrived, left = distant::left;
    does();
    return std::pair(distant::arrived - arrived, distant::left - left);
  };
  cache_t<decltype(layer), all_wanted> cache;
  B::tensor y;
  const auto forward = [&] { y = layer.template forward<all_wanted>(x, cache, k); };
  CHECK(crossed(forward) == std::pair(3, 1));  // A, B and x; y. A frozen matrix is shared
  CHECK(crossed(forward) == std::pair(1, 1));
  store.values.data[0] += 1;
  CHECK(crossed(forward) == std::pair(2, 1));
  const auto backward = [&] {
    layer.template backward<all_wanted>(std::move(y), cache, &g.gradient, k);
  };
  CHECK(crossed(backward) == std::pair(1, 3));  // dy; dx and the gradients of A and B
  cache = {};
  CHECK(memory.template beside<distant::workspace>().bytes_in_use() == 0);
}

TEST_CASE("a moved layer keeps on the other side what its layer keeps, and no more") {
  using still = moved_layer<frozen<linear<B>>, distant>;
  STATIC_REQUIRE(keeps_nothing<cache_t<still, all_wanted>>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<still>, nothing>);
  using L = moved_layer<linear<B>, distant>;
  STATIC_REQUIRE(keeps_nothing<cache_t<L, nothing_wanted>>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, gradient_t<linear<B>>>);
  STATIC_REQUIRE(std::is_same_v<L::far_type, linear<distant>>);
  STATIC_REQUIRE(dense_layer<L>);
  STATIC_REQUIRE(!dense_layer<moved_layer<layer_norm<B>, distant>>);
  STATIC_REQUIRE(sized_layer<moved_layer<layer_norm<B>, distant>>);
  STATIC_REQUIRE(!movable_to<L, B>);

  std::vector<std::string> paths;
  L one(linear<B>(5, 4));
  for (const segment& s : gather(one).segments)
    paths.push_back(s.path);
  CHECK(paths == std::vector<std::string>{"weight", "bias"});
  randomize(one);
  CHECK(values_of<double>(dense_form_of(one).weight) == values_of<double>(one.base.weight));
}

TEST_CASE("a quantised weight moves in its few bits") {
  const auto check = []<class L, class To>(std::type_identity<L>, std::type_identity<To>,
                                           double rounding) {
    linear<cpu<float>> base(70, 11);
    randomize(base, 4);
    L layer{frozen(base)};
    layer.base_filled();
    auto there = to<To>(layer);
    CHECK(relative_error(step(there, 70), step(layer, 70)) < rounding);
  };
  using int8 = quantized_linear<frozen<linear<cpu<float>>>, number_format::int8>;
  using nf4 = quantized_linear<frozen<linear<cpu<float>>>, number_format::nf4>;
  using inputs_too = quantized_linear<frozen<linear<cpu<float>>>, number_format::int8, true>;
  check(std::type_identity<int8>(), std::type_identity<emulated<float>>(), 1e-4);
  check(std::type_identity<inputs_too>(), std::type_identity<emulated<float>>(), 1e-4);
  check(std::type_identity<nf4>(), std::type_identity<emulated<float>>(), 1e-4);
  check(std::type_identity<nf4>(), std::type_identity<reference<float>>(), 1e-4);
}

TEST_CASE("several threads may compute with one moved layer") {
  auto layer = to<distant>(updated(frozen(linear<B>(5, 4))));
  randomize(layer, 3);
  const auto predict = [&] {
    B::workspace memory;
    const layout rows = sequences({4});
    const context<B> k{memory, rows};
    std::vector<double> all;
    for (int i = 0; i < 20; ++i) {
      cache_t<decltype(layer), nothing_wanted> none;
      all = values_of(
          layer.template forward<nothing_wanted>(random_tensor<B>(memory, 4, 5, 1), none, k));
    }
    return all;
  };
  std::vector<double> a, b;
  std::thread one([&] { a = predict(); }), two([&] { b = predict(); });
  one.join();
  two.join();
  CHECK(a == b);
  CHECK(a == predict());
}

}  // namespace graft_test::moved_tests
