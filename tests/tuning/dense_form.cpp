// SPDX-License-Identifier: MIT
// core/dense_form.hpp, and as_dense() of every decoration that has it.
#include <graft/backend/cpu.hpp>
#include <graft/core/dense_form.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/vera.hpp>

#include <algorithm>
#include <cmath>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/images.hpp"

namespace graft_test::dense_form_tests {

namespace {

using B = cpu<double>;
using base_map = frozen<linear<B>>;

template <class L, class X>
std::vector<double> outputs_of(const L& layer, const X& x, const layout& rows) {
  host_workspace memory;
  cache_t<L, nothing_wanted> none;
  return values_of(layer.template forward<nothing_wanted>(x, none, context<B>{memory, rows}));
}

// The largest difference between a decorated layer of 5 columns in and the linear layer that it is
// said to be.
template <class L>
double difference(L layer) {
  if constexpr (requires { layer.drop.rate; })
    layer.drop.rate = 0.5f;  // which does not act here
  const dense_form<B> d = dense_form_of(layer);
  linear<B> plain(layer.in(), layer.out(), d.bias.rows > 0);
  B::copy(plain.weight, d.weight);
  if (d.bias.rows > 0)
    B::copy(plain.bias, d.bias);
  host_workspace memory;
  const layout rows = sequences({3, 4});
  const auto x = random_tensor<B>(memory, 7, layer.in(), 1);
  const auto found = outputs_of(plain, x, rows), expected = outputs_of(layer, x, rows);
  double worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i)
    worst = std::max(worst, std::abs(found[i] - expected[i]));
  // A decoration of which nothing is seen proves nothing.
  if constexpr (requires { layer.base; })
    if (outputs_of(layer.base, x, rows) == expected)
      return INFINITY;
  return worst;
}

template <class L>
L randomized(L layer) {
  randomize(layer, 7);
  return layer;
}
linear<B> map(bool bias = true) { return randomized(linear<B>(5, 4, bias)); }

random_stream draws(3);

template <class L>
concept one_matrix = requires(const L& l) { l.as_dense(); };

}  // namespace

TEST_CASE("an update of an affine layer is one matrix with it") {
  for (const bool bias : {true, false}) {
    CHECK(difference(randomized(lora_layer(map(bias), lora{.rank = 2, .alpha = 5}))) < 1e-12);
    CHECK(difference(randomized(lora_layer(base_map(map(bias)), lora{.rank = 2}))) < 1e-12);
    CHECK(difference(randomized(adalora_layer(base_map(map(bias)), adalora{.rank = 3}))) < 1e-12);
    CHECK(difference(randomized(vera_layer(base_map(map(bias)), vera{.rank = 6}, draws))) < 1e-12);
    CHECK(difference(randomized(ia3_layer<base_map, ia3_place::output>(base_map(map(bias)), {}))) <
          1e-12);
    CHECK(difference(randomized(ia3_layer<base_map, ia3_place::input>(base_map(map(bias)), {}))) <
          1e-12);
    CHECK(difference(randomized(dora_layer(base_map(map(bias)), dora{.rank = 2}))) < 1e-12);
  }
}

TEST_CASE("updates of updates are one matrix, and what was taken out of the weight is back in it") {
  auto inner = randomized(lora_layer(base_map(map()), lora{.rank = 2}));
  CHECK(difference(randomized(ia3_layer<decltype(inner), ia3_place::output>(inner, {}))) < 1e-12);
  CHECK(difference(randomized(lora_layer(inner, lora{.rank = 3}))) < 1e-12);
  constexpr lora by_vectors{.rank = 2, .init = lora_init::pissa};
  lora_layer<base_map, 2, by_vectors.form()> taken(base_map(map()), by_vectors, draws);
  CHECK(difference(taken) < 1e-12);
  const auto whole = dense_form_of(taken);
  const linear<B> before = map();
  for (index_t i = 0; i < whole.weight.size(); ++i)
    CHECK(whole.weight.data[i] == Approx(before.weight.data[i]).margin(1e-12));
}

TEST_CASE("a quantised weight is the numbers it stands for") {
  quantized_linear<base_map, number_format::nf4> q{base_map(map())};
  CHECK_THROWS_WITH(dense_form_of(q), Catch::Matchers::Contains("expected base_filled()"));
  q.base_filled();
  CHECK(difference(lora_layer(q, lora{.rank = 2}, draws)) == INFINITY);  // B is zero
  CHECK(difference(randomized(lora_layer(q, lora{.rank = 2}))) < 1e-12);
}

TEST_CASE("an update of a table or a convolution is one matrix with it") {
  const lora_table table = randomized(lora_table(randomized(embedding<B>(6, 4)), lora{.rank = 2}));
  embedding<B> plain(6, 4);
  B::copy(plain.weight, dense_form_of(table).weight);
  const std::vector<std::int32_t> ids{5, 0, 3, 3};
  const layout rows = separate_rows(4);
  const auto found = outputs_of(plain, std::span(ids), rows);
  const auto expected = outputs_of(table, std::span(ids), rows);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(found[i] == Approx(expected[i]).epsilon(1e-12));

  int merged = 0;
  for (const conv_geometry& g : geometries()) {
    INFO(text_of(g));
    const lora_conv l = randomized(lora_conv(randomized(conv2d<B>(g, 4)), lora{.rank = 2}));
    if (g.groups > 1) {
      CHECK_THROWS_WITH(dense_form_of(l), Catch::Matchers::Contains("found 2 groups"));
      continue;
    }
    ++merged;
    const dense_form<B> d = dense_form_of(l);
    conv2d<B> image_map(g, 4);
    B::copy(image_map.weight, d.weight);
    B::copy(image_map.bias, d.bias);
    host_workspace memory;
    const layout images = separate_rows(3);
    const auto x = random_tensor<B>(memory, 3, l.in(), 1);
    const auto of_map = outputs_of(image_map, x, images), of_l = outputs_of(l, x, images);
    for (std::size_t i = 0; i < of_l.size(); ++i)
      CHECK(of_map[i] == Approx(of_l[i]).epsilon(1e-12).margin(1e-12));
  }
  CHECK(merged > 0);
}

TEST_CASE("a decoration of what is no matrix is none, and one that is computed again is") {
  constexpr lora gated{.rank = 2, .gating = true};
  using gated_layer = lora_layer<base_map, 2, gated.form()>;
  STATIC_REQUIRE_FALSE(one_matrix<ia3_layer<gated_layer, ia3_place::output>>);
  STATIC_REQUIRE_FALSE(one_matrix<lora_layer<gated_layer, 2>>);
  STATIC_REQUIRE_FALSE(one_matrix<vera_layer<gated_layer>>);
  STATIC_REQUIRE_FALSE(one_matrix<adalora_layer<gated_layer>>);
  STATIC_REQUIRE_FALSE(one_matrix<recompute_layer<gated_layer>>);
  ia3_layer<gated_layer, ia3_place::output> listed(gated_layer(base_map(map()), gated), {});
  CHECK(list_parts(listed).layers.size() > 2);
  const auto again = recompute_layer(base_map(map()));
  CHECK(difference(randomized(lora_layer(again, lora{.rank = 2}))) < 1e-12);
  CHECK(difference(recompute_layer(randomized(lora_layer(base_map(map()), lora{.rank = 2})))) ==
        INFINITY);
}

TEST_CASE("what is no matrix has no dense form") {
  constexpr lora gated{.rank = 2, .gating = true};
  using branch = bottleneck::apply<base_map, bottleneck{.width = 2}>;
  STATIC_REQUIRE(one_matrix<lora_layer<base_map, 2>>);
  STATIC_REQUIRE_FALSE(one_matrix<lora_layer<base_map, 2, gated.form()>>);
  STATIC_REQUIRE_FALSE(one_matrix<branch>);
  STATIC_REQUIRE_FALSE(one_matrix<ia3_layer<branch, ia3_place::output>>);
}

}  // namespace graft_test::dense_form_tests
