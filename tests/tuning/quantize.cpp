// SPDX-License-Identifier: MIT
// tuning/quantize.hpp, tuning/dense_weight.hpp. Models with them: quantized_models.cpp.
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "static/keeps_nothing.hpp"
#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

using Catch::Matchers::Contains;

template <class B, number_format Format>
using held_in = quantized_linear<frozen<linear<B>>, Format>;

template <class B, number_format Format>
held_in<B, Format> quantised(index_t in, index_t out, bool bias = true) {
  linear<B> base(in, out, bias);
  randomize(base, 4);
  held_in<B, Format> layer{frozen(base)};
  layer.base_filled();
  return layer;
}

// The same map with its weight as a dense matrix.
template <class L, class B = typename L::backend_type>
frozen<linear<B>> dense_form(const L& layer) {
  linear<B> dense(layer.in(), layer.out(), false);
  host_workspace memory;
  const layout none;
  B::copy(dense.weight, layer.dense_weight(context<B>{memory, none}));
  frozen<linear<B>> same(dense);
  same.bias = layer.base.bias;
  return same;
}

template <class L>
std::vector<double> outputs_and_slopes(const L& layer) {
  using backend_type = typename L::backend_type;
  host_workspace memory;
  const layout rows = sequences({3, 4});
  const context<backend_type> k{memory, rows};
  const auto x = random_tensor<backend_type>(memory, 7, layer.in(), 1);
  cache_t<L, input_wanted> cache;
  auto y = layer.template forward<input_wanted>(x, cache, k);
  std::vector<double> values = values_of(y);
  nothing* none = nullptr;
  const auto dx = layer.template backward<input_wanted>(std::move(y), cache, none, k);
  const auto slopes = values_of(dx);
  values.insert(values.end(), slopes.begin(), slopes.end());
  return values;
}

template <class B>
struct bf16_of {
  using backend = B;
  static constexpr number_format format = number_format::bf16;
};
template <class B>
struct int8_of {
  using backend = B;
  static constexpr number_format format = number_format::int8;
};
template <class B>
struct nf4_of {
  using backend = B;
  static constexpr number_format format = number_format::nf4;
};

}  // namespace

TEMPLATE_TEST_CASE("a quantised linear computes what its dequantised weight does", "",
                   bf16_of<cpu<double>>, int8_of<cpu<double>>, nf4_of<cpu<double>>,
                   bf16_of<reference<double>>, int8_of<reference<double>>, nf4_of<reference<double>>,
                   bf16_of<cpu<float>>, int8_of<cpu<float>>, nf4_of<cpu<float>>) {
  using B = typename TestType::backend;
  const bool bias = GENERATE(true, false);
  const auto layer = quantised<B, TestType::format>(70, 11, bias);
  CHECK(layer.in() == 70);
  CHECK(layer.out() == 11);
  // (Of bf16 the inputs are rounded, too, where the processor multiplies such numbers.)
  const bool in_bits = std::is_same_v<B, cpu<float>> && TestType::format == number_format::bf16;
  const double rounding = sizeof(typename B::scalar) == 8 ? 1e-12 : in_bits ? 1e-2 : 1e-5;
  const auto found = outputs_and_slopes(layer);
  CHECK(relative_error(found, outputs_and_slopes(dense_form(layer))) <= rounding);

  linear<B> base(70, 11, bias);
  randomize(base, 4);  // as `quantised` does
  const double apart = relative_error(found, outputs_and_slopes(frozen(base)));
  CHECK(apart > 1e-4);
  CHECK(apart < (TestType::format == number_format::nf4 ? 0.2 : 0.02));
}

TEMPLATE_TEST_CASE("with inputs in 8 bits a quantised linear makes of them what its dense form does", "",
                   cpu<float>, cpu<double>, reference<double>) {
  using B = TestType;
  using T = typename B::scalar;
  using L = quantized_linear<frozen<linear<B>>, number_format::int8, true>;
  const bool bias = GENERATE(true, false);
  linear<B> base(70, 11, bias);
  randomize(base, 4);
  L layer{frozen(base)};
  layer.base_filled();
  const auto plain = quantised<B, number_format::int8>(70, 11, bias);
  const auto dense = dense_form(plain);

  host_workspace memory;
  const layout rows = sequences({30, 11});
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 41, 70, 1);
  const auto rounded = k.make(41, 70);
  B::round_rows(rounded, x);
  cache_t<L, input_wanted> none;
  cache_t<frozen<linear<B>>, input_wanted> of_dense;
  const auto y = layer.template forward<input_wanted>(x, none, k);
  const auto expected = dense.template forward<input_wanted>(rounded, of_dense, k);
  CHECK(relative_error(values_of(y), values_of(expected)) < (sizeof(T) == 8 ? 1e-12 : 2e-6));

  const auto unrounded = dense.template forward<input_wanted>(x, of_dense, k);
  double apart = 0;
  for (index_t i = 0; i < y.rows; ++i) {
    double most = 0;
    for (index_t j = 0; j < x.cols; ++j)
      most = std::max(most, std::abs(double(x(i, j))));
    for (index_t j = 0; j < y.cols; ++j) {
      double weights = 0;
      for (index_t n = 0; n < x.cols; ++n)
        weights += std::abs(double(dense.weight(j, n)));
      const double off = std::abs(double(y(i, j)) - double(unrounded(i, j))) / (most / 254 * weights);
      CHECK(off <= 1.0001);
      apart = std::max(apart, off);
    }
  }
  CHECK(apart > 0.01);

  // The gradient is Ŵ's.
  cache_t<held_in<B, number_format::int8>, input_wanted> of_plain;
  nothing* nobody = nullptr;
  const auto dy = random_tensor<B>(memory, 41, 11, 2);
  const auto dx = layer.template backward<input_wanted>(dy, none, nobody, k);
  const auto same = plain.template backward<input_wanted>(dy, of_plain, nobody, k);
  CHECK(values_of(dx) == values_of(same));

  // … as a merged layer's weight is, and of no use to who reads weights while training.
  CHECK(values_of<const T>(layer.as_dense().weight) == values_of<const T>(dense.weight));
  STATIC_REQUIRE(!readable_affine<L>);
  STATIC_REQUIRE(dense_layer<L>);
  STATIC_REQUIRE(keeps_nothing<cache_t<L, all_wanted>>);
}

TEST_CASE("a low-rank update over inputs in 8 bits sees the inputs themselves") {
  using B = cpu<double>;
  using L = quantized_linear<frozen<linear<B>>, number_format::int8, true>;
  linear<B> map(6, 4);
  randomize(map, 4);
  L base{frozen(map)};
  base.base_filled();
  lora_layer<L, 3> layer(base, lora{.rank = 3});
  randomize(layer, 5);
  host_workspace memory;
  const layout rows = separate_rows(2);
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 2, 6, 1);
  cache_t<L, nothing_wanted> of_base;
  cache_t<lora_layer<L, 3>, nothing_wanted> none;
  const auto expected = k.own(layer.base.forward<nothing_wanted>(x, of_base, k));
  const auto h = k.make(2, 3);
  B::product_nt(h, x, layer.a, 1, false);
  B::product_nt(expected, h, layer.b, layer.scale(), true);
  CHECK(relative_error(values_of(layer.forward<nothing_wanted>(x, none, k)), values_of(expected)) < 1e-14);
}

TEST_CASE("quantize tells of its inputs") {
  std::vector<std::string> told;
  quantize{.to = number_format::int8, .inputs = true}.describe([&](std::string_view name, auto value) {
    if constexpr (std::is_same_v<decltype(value), bool>)
      told.push_back(std::string(name) + (value ? " true" : " false"));
    else
      told.push_back(std::string(name) + " " + std::string(value));
  });
  CHECK(told == std::vector<std::string>{"to int8", "inputs true"});
}

TEMPLATE_TEST_CASE("updates of a quantised linear have the gradients of their formulas", "",
                   bf16_of<cpu<double>>, int8_of<cpu<double>>, nf4_of<cpu<double>>) {
  using B = typename TestType::backend;
  using base_type = held_in<B, TestType::format>;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  check_layer(quantised<B, TestType::format>(6, 4), rows, training);
  check_layer(lora_layer<base_type, 3>(quantised<B, TestType::format>(6, 4),
                                       lora{.rank = 3, .dropout = 0.3f}),
              rows, training);
  for (const bool bias : {true, false}) {
    dora_layer<base_type, 3> scaled(quantised<B, TestType::format>(6, 4, bias),
                                    dora{.rank = 3, .alpha = 5, .dropout = 0.3f});
    randomize(scaled);
    scaled.hold_lengths();
    check_layer(scaled, rows, training);
  }
}

TEMPLATE_TEST_CASE("DoRA over a quantised weight is DoRA over what it stands for", "",
                   int8_of<cpu<double>>, nf4_of<cpu<double>>) {
  using B = typename TestType::backend;
  const auto base = quantised<B, TestType::format>(70, 5);
  random_stream draw(3), same_draw(3);
  dora_layer<held_in<B, TestType::format>, 2> over(base, dora{.rank = 2}, draw);
  dora_layer<frozen<linear<B>>, 2> dense(dense_form(base), dora{.rank = 2}, same_draw);
  const auto lengths = values_of<double>(dense.magnitude);
  CHECK(relative_error(values_of<double>(over.magnitude), lengths) < 1e-14);
  over.b(1, 0) = dense.b(1, 0) = 0.7;
  CHECK(relative_error(outputs_and_slopes(over), outputs_and_slopes(dense)) < 1e-12);
}

TEST_CASE("the weight of a frozen linear is read where it lies, a quantised one is made") {
  using B = cpu<double>;
  host_workspace memory;
  const layout none;
  const context<B> k{memory, none};
  const frozen plain(linear<B>(6, 4));
  CHECK(dense_weight(plain, k).data == plain.weight.data);
  CHECK(dense_bias(plain).data == plain.bias.data);
  CHECK(memory.bytes_in_use() == 0);
  const auto layer = quantised<B, number_format::int8>(6, 4);
  {
    const auto w = dense_weight(layer, k);
    CHECK(w.rows == 4);
    CHECK(w.cols == 6);
    CHECK(memory.bytes_in_use() == 192);
  }
  CHECK(memory.bytes_in_use() == 0);
  STATIC_REQUIRE(readable_affine<frozen<linear<B>>>);
  STATIC_REQUIRE(readable_affine<held_in<B, number_format::nf4>>);
  STATIC_REQUIRE(!readable_affine<linear<B>>);
  STATIC_REQUIRE(!frozen_affine<held_in<B, number_format::nf4>>);
}

TEST_CASE("a quantised linear trains nothing, keeps nothing and lets go of the weight") {
  using B = cpu<float>;
  using L = held_in<B, number_format::nf4>;
  STATIC_REQUIRE(dense_layer<L>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<L>, nothing>);
  STATIC_REQUIRE(keeps_nothing<cache_t<L, all_wanted>>);

  linear<B> base(128, 32);
  const std::weak_ptr<void> memory = base.weight.owner;
  L layer{frozen(std::move(base))};
  CHECK(!memory.expired());
  layer.base_filled();
  CHECK(memory.expired());
  CHECK(layer.weight_codes->bytes() == 128 * 32 / 2 + 128 * 32 / 64 + 4 + 4);

  const auto parts = list_parts(layer);
  REQUIRE(parts.parameters.size() == 2);
  CHECK(parts.parameters[0].path == "weight");
  CHECK(parts.parameters[0].size() == 128 * 32);
  CHECK(parts.parameters[0].data() == nullptr);
  CHECK(parts.parameters[1].path == "bias");
  CHECK(parts.parameters[1].data() != nullptr);
  CHECK(count_parameters(layer).total == 128 * 32 + 32);

  const L copy = layer;
  CHECK(copy.weight_codes == layer.weight_codes);
  layer.base_filled();  // nothing new to quantise
  CHECK(copy.weight_codes == layer.weight_codes);

  linear<B> other(128, 32);
  randomize(other);
  layer.base.weight = other.weight;
  layer.base_filled();
  CHECK(copy.weight_codes != layer.weight_codes);
}

TEST_CASE("a quantised linear says what it lacks") {
  using B = cpu<float>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  const auto x = random_tensor<B>(memory, 1, 5, 1);
  held_in<B, number_format::int8> layer{frozen(linear<B>(4, 3))};
  cache_t<decltype(layer), nothing_wanted> none;
  CHECK_THROWS_AS(layer.forward<nothing_wanted>(x, none, k), shape_error);
  CHECK_THROWS_WITH(layer.forward<nothing_wanted>(x.columns(0, 4), none, k),
                    Contains("expected base_filled() before the first step"));
}

}  // namespace graft_test
