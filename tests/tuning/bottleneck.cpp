// SPDX-License-Identifier: MIT
// tuning/bottleneck.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

using enum placement;

template <placement Where, class L>
bottleneck_layer<L, Where> with_adapter(L base, const bottleneck& spec) {
  return {std::move(base), spec};
}

// Two and three matrices, several activations, with and without scale and dropout.
std::vector<bottleneck> variants() {
  return {{.width = 3},
          {.width = 3, .activation = activation::gelu, .scale = 0.5f, .dropout = 0.3f},
          {.width = 4, .inner = 2, .activation = activation::silu},
          {.width = 2, .inner = 5, .scale = 3, .dropout = 0.3f}};
}

template <class B>
using norm_join = add_norm<layer_norm<B>, at::attention_norm_t>;
template <class B>
using frozen_norm_join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;

}  // namespace

TEMPLATE_TEST_CASE("a bottleneck has the gradients of its formula at every place", "",
                   cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3, 2});
  for (const bottleneck& spec : variants()) {
    INFO("inner " << spec.inner << ", dropout " << spec.dropout);
    for (bool training : {false, true}) {
      check_layer(with_adapter<after>(frozen(linear<B>(5, 4)), spec), rows, training);
      check_layer(with_adapter<before>(frozen(linear<B>(5, 4)), spec), rows, training);
      check_layer(with_adapter<parallel>(frozen(linear<B>(5, 4)), spec), rows, training);
      check_layer(with_adapter<skip>(frozen(linear<B>(5, 4)), spec), rows, training);
    }
  }
}

TEST_CASE("a bottleneck leaves a trained base its gradients") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3, 2});
  const bottleneck spec{.width = 3, .inner = 2, .activation = activation::gelu};
  check_layer(with_adapter<after>(linear<B>(5, 4), spec), rows);
  check_layer(with_adapter<before>(biases_only(linear<B>(5, 4)), spec), rows);
  check_layer(with_adapter<parallel>(linear<B>(5, 4, false), spec), rows);
}

TEST_CASE("a bottleneck in a join has the gradients of its formula") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  for (const bottleneck& spec : variants()) {
    INFO("inner " << spec.inner << ", dropout " << spec.dropout);
    check_join(bottleneck_join(norm_join<B>{layer_norm<B>(5)}, spec), rows, training);
    check_join(bottleneck_join(frozen_norm_join<B>{frozen(layer_norm<B>(5))}, spec), rows,
               training);
    check_join(bottleneck_join(add<B>{5}, spec), rows, training);
  }
}

namespace {

// [1, n], every element the same.
template <class B>
typename B::tensor row_of(host_workspace& memory, index_t n, double value) {
  auto x = B::make(memory, 1, n);
  B::fill(x, value);
  return x;
}

// y of a base 10 x and an adapter A(x) = 2 relu(3 x + 1) + 1 over one column.
template <placement Where>
double at_two() {
  using backend_type = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<backend_type> k{memory, rows};
  linear<backend_type> base(1, 1);
  base.weight(0, 0) = 10;
  bottleneck_layer<linear<backend_type>, Where> l(base, {.width = 1, .scale = 0.5f});
  l.adapter.down.weight(0, 0) = 3, l.adapter.down.bias(0, 0) = 1;
  l.adapter.up.weight(0, 0) = 4, l.adapter.up.bias(0, 0) = 2;
  cache_t<decltype(l), nothing_wanted> none;
  return l.template forward<nothing_wanted>(row_of<backend_type>(memory, 1, 2), none, k)(0, 0);
}

}  // namespace

TEST_CASE("a bottleneck computes the formula of its placement") {
  CHECK(at_two<after>() == Approx(20 + (2 * 61 + 1)));
  CHECK(at_two<before>() == Approx(10 * (2 + (2 * 7 + 1))));
  CHECK(at_two<parallel>() == Approx(20 + (2 * 7 + 1)));
  CHECK(at_two<skip>() == Approx(20 + (2 * 61 + 1)));
}

TEST_CASE("three matrices put a second activation between them") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  adapter_branch<B> a(1, 1, {.width = 1, .inner = 1});
  a.down.weight(0, 0) = 3;
  a.middle.weight(0, 0) = -1, a.middle.bias(0, 0) = 10;
  a.up.weight(0, 0) = 2;
  cache_t<adapter_branch<B>, nothing_wanted> none;
  CHECK(a.forward<nothing_wanted>(row_of<B>(memory, 1, 2), none, k)(0, 0) == Approx(8));
  CHECK(a.forward<nothing_wanted>(row_of<B>(memory, 1, 4), none, k)(0, 0) == Approx(0));
}

TEST_CASE("a bottleneck in a join sits between two calls of the join") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  bottleneck_join<add<B>> j(add<B>{1}, {.width = 1});
  j.adapter.down.weight(0, 0) = 2, j.adapter.up.weight(0, 0) = 5;
  cache_t<decltype(j), nothing_wanted> none;
  const auto y = j.join<nothing_wanted>(row_of<B>(memory, 1, 3), row_of<B>(memory, 1, 4), none, k);
  CHECK(y(0, 0) == Approx(3 + 5 * (2 * (3 + 4)) + 4));
}

TEST_CASE("a fresh bottleneck ends in zeros, or is small all over") {
  using B = cpu<double>;
  random_stream random(3);
  bottleneck spec{.width = 50, .inner = 40};
  adapter_branch<B> a(16, 8, spec);
  a.initialize(random);
  const auto most = [](const linear<B>& l) { return largest(values_of<const double>(l.weight)); };
  CHECK(most(a.down) <= 0.25);
  CHECK(most(a.down) > 0.24);
  CHECK(most(a.middle) > 0);
  CHECK(most(a.up) == 0);

  spec.init = adapter_init::near_identity;
  adapter_branch<B> b(16, 8, spec);
  b.initialize(random);
  for (const linear<B>* l : {&b.down, &b.middle, &b.up}) {
    CHECK(most(*l) > 0.03);
    CHECK(most(*l) < 0.15);
    CHECK(values_of<const double>(l->bias) ==
          std::vector<double>(static_cast<std::size_t>(l->out()), 0.0));
  }
}

TEST_CASE("a bottleneck keeps tensors only for what is asked of it") {
  using B = cpu<float>;
  using L = frozen<linear<B>>;
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<bottleneck_layer<L, after>, nothing_wanted>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<bottleneck_layer<L, before>, nothing_wanted>>);
  STATIC_REQUIRE(
      std::is_trivially_destructible_v<cache_t<bottleneck_layer<L, parallel>, nothing_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<
                 cache_t<bottleneck_join<frozen_norm_join<B>>, nothing_wanted>>);
  STATIC_REQUIRE(!dense_layer<bottleneck_layer<L, parallel>>);
  STATIC_REQUIRE(sized_layer<bottleneck_layer<L, parallel>>);
}

}  // namespace graft_test
