// SPDX-License-Identifier: MIT
// tuning/adalora.hpp, tuning/rank_budget.hpp and what layers add to the loss in common
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/step_hooks.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::adalora_tests {

namespace {

template <class L>
adalora_layer<L> adaptive(L base, const adalora& spec) {
  return {std::move(base), spec};
}

// Two layers of one network.
template <class Backend>
struct two_adalora_layers {
  using backend_type = Backend;
  using ada = adalora_layer<frozen<linear<Backend>>>;

  ada first, second;

  explicit two_adalora_layers(const adalora& spec)
      : first(frozen(linear<Backend>(3, 4)), spec), second(frozen(linear<Backend>(4, 2)), spec) {}

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.first...);
    f(at::value, z.second...);
  }
  struct gradient {
    gradient_t<ada> first, second;
  };
};

using B = cpu<double>;
using two_double_layers = two_adalora_layers<B>;

}  // namespace

TEMPLATE_TEST_CASE("an AdaLoRA layer has the gradients of its formula", "", cpu<double>) {
  const layout rows = sequences({1, 3, 2});
  const bool training = GENERATE(false, true);
  const adalora spec{.rank = 3, .target_rank = 1, .alpha = 5, .dropout = 0.3f};
  check_layer(adaptive(frozen(linear<TestType>(6, 4)), spec), rows, training);
  check_layer(adaptive(linear<TestType>(4, 6, false), spec), rows, training);
  check_layer(adaptive(biases_only(toy_layer<TestType>(5)), spec), rows, training);
}

TEST_CASE("AdaLoRA and low-rank updates nest") {
  const layout rows = sequences({1, 3, 2});
  const adalora spec{.rank = 3, .target_rank = 1, .dropout = 0.2f};
  const lora low{.rank = 2, .dropout = 0.2f};
  check_layer(lora_layer(adaptive(frozen(linear<B>(5, 4)), spec), low), rows, true);
  check_layer(adaptive(lora_layer(frozen(linear<B>(5, 4)), low), spec), rows, true);
}

TEST_CASE("AdaLoRA computes f(x) + s · (e ∘ x Aᵀ) Bᵀ") {
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  linear<B> base(2, 1);
  base.weight(0, 0) = 1, base.weight(0, 1) = 1, base.bias(0, 0) = 0.5;
  auto l = adaptive(base, {.rank = 2, .target_rank = 1, .alpha = 6});
  l.a(0, 0) = 2, l.a(1, 1) = 1, l.e(0, 0) = 7, l.e(0, 1) = -1, l.b(0, 0) = 3, l.b(0, 1) = 5;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  cache_t<decltype(l), nothing_wanted> none;
  const double branch = 3 * 7 * 20 + 5 * -1 * 100;
  CHECK(l.forward<nothing_wanted>(x, none, k)(0, 0) == Approx(110.5 + 6 / 2.00001 * branch));
}

TEST_CASE("a fresh AdaLoRA layer is random in A and B and zero in e") {
  random_stream random(3);
  const auto l = adalora_layer(frozen(linear<B>(30, 20)), adalora{}, random);
  CHECK(l.rank() == 12);
  CHECK(values_of<const double>(l.e) == std::vector<double>(12, 0.0));
  for (const auto& p : {l.a, l.b}) {
    double squares = 0;
    for (double v : values_of<const double>(p))
      squares += v * v;
    CHECK(std::sqrt(squares / static_cast<double>(p.size())) == Approx(0.02).epsilon(0.2));
  }
}

TEST_CASE("the penalty is the mean distance of A Aᵀ and Bᵀ B from one, with its slope") {
  two_double_layers m(adalora{.rank = 2, .target_rank = 1, .orthogonality = 0.5f});
  auto store = gather(m);
  for (ptrdiff_t i = 0; i < store.size(); ++i)
    store.values.data[i] = 0;
  auto g = make_gradient(m, store);
  // All zero: |−1| is √2 for each of four matrices, and stays so for a small change.
  CHECK(add_penalties(m, g.gradient) == Approx(0.5 * std::sqrt(2.0)));
  CHECK(largest(values_of<double>(g.values)) == 0);
  m.first.a(0, 0) = 1, m.first.a(1, 1) = 1;  // orthonormal: no distance, and no slope
  CHECK(add_penalties(m, g.gradient) == Approx(0.5 * 0.75 * std::sqrt(2.0)));
  CHECK(largest(values_of<double>(g.values)) == 0);

  randomize(m);
  g.clear();
  gradient_t<two_double_layers> ignored = g.gradient;
  const auto value = [&] {
    auto other = make_gradient(m, store);
    return add_penalties(m, other.gradient);
  };
  add_penalties(m, ignored);
  std::vector<double> expected;
  for (ptrdiff_t i = 0; i < store.size(); ++i) {
    double& w = store.values.data[i];
    const double middle = w, h = 1e-5;
    w = middle + h;
    const double up = value();
    w = middle - h;
    expected.push_back((up - value()) / (2 * h));
    w = middle;
  }
  CHECK(relative_error(values_of<double>(g.values), expected) < 1e-7);
}

TEST_CASE("the budget falls with the cube of the steps that are left") {
  const rank_schedule s{.target_rank = 2, .warmup = 2, .settle = 2};
  CHECK(s.budget(0, 12, 40, 10) == 40);
  CHECK(s.budget(2, 12, 40, 10) == 40);
  CHECK(s.budget(3, 12, 40, 10) == 34);  // 20 + 20 · 0.729
  CHECK(s.budget(7, 12, 40, 10) == 22);  // 20 + 20 / 8
  CHECK(s.budget(12, 12, 40, 10) == 20);
}

TEST_CASE("the ranks that matter least lose their numbers, whatever layer they are in") {
  two_double_layers m(adalora{.rank = 2, .target_rank = 1, .warmup = 1, .settle = 2});
  auto store = gather(m);
  auto g = make_gradient(m, store);
  B::fill(store.values, 1);
  B::fill(g.values, 0);
  // The importance of e alone decides: 3 and 1 in the first layer, 4 and 2 in the second.
  g.gradient.first.e(0, 0) = 3, g.gradient.first.e(0, 1) = 1;
  g.gradient.second.e(0, 0) = -4, g.gradient.second.e(0, 1) = 2;
  const auto kept = [&](std::int64_t step) {
    B::fill(store.values, 1);
    adalora::after_step(m, g.gradient, {step, 8});
    std::vector<double> e = values_of<double>(m.first.e);
    for (double v : values_of<double>(m.second.e))
      e.push_back(v);
    return e;
  };
  using numbers = std::vector<double>;
  CHECK(kept(1) == numbers{1, 1, 1, 1});
  CHECK(kept(2) == numbers{1, 1, 1, 1});  // the end of the warm-up
  CHECK(kept(3) == numbers{1, 0, 1, 1});  // int(2 + 2 · (4/5)³) = 3 are left
  CHECK(kept(4) == numbers{1, 0, 1, 0});
  CHECK(kept(7) == numbers{1, 0, 1, 0});  // the last allocation
  g.gradient.first.e(0, 1) = 100;
  CHECK(kept(8) == numbers{1, 0, 1, 0});  // settled
  CHECK(kept(1) == numbers{1, 1, 1, 1});  // another run
  CHECK(kept(2) == numbers{1, 1, 1, 1});
  CHECK(kept(3) == numbers{1, 1, 1, 0});
}

TEST_CASE("importance counts the gradient as the optimizer saw it, smoothed") {
  const rank_schedule s{.beta1 = 0.5f, .beta2 = 0.75f};
  adalora_layer<linear<B>> l(linear<B>(2, 1), adalora{.rank = 1, .target_rank = 1});
  auto g = make_gradient(l);
  l.a(0, 0) = 2, l.e(0, 0) = 1, l.b(0, 0) = 3;
  g.gradient.a(0, 0) = -8, g.gradient.e(0, 0) = 0, g.gradient.b(0, 0) = 4;
  l.importance.observe(l, g.gradient, 0.5, s);
  // a: i = 8, I = 4, U = 1, halved by its two columns; b: i = 6, I = 3, U = 0.75
  CHECK(l.importance.scores(l) == std::vector<double>{4 * 1 / 2.0 + 3 * 0.75});
  l.importance.observe(l, g.gradient, 0.5, s);
  // a: I = 6, U = 0.75 + 0.5; b: I = 4.5, U = 0.5625 + 0.375
  CHECK(l.importance.scores(l) == std::vector<double>{6 * 1.25 / 2.0 + 4.5 * 0.9375});
}

TEST_CASE("a run that is too short for the schedule is an error") {
  two_double_layers m(adalora{.rank = 2, .target_rank = 1, .warmup = 5, .settle = 4});
  auto store = gather(m);
  auto g = make_gradient(m, store);
  CHECK_THROWS_WITH(adalora::after_step(m, g.gradient, {1, 9}),
                    Catch::Contains("more than warmup + settle = 9 steps, found 9"));
  CHECK_NOTHROW(adalora::after_step(m, g.gradient, {1, 10}));
}

TEST_CASE("AdaLoRA keeps nothing of its own but for its parameters") {
  using L = adalora_layer<frozen<linear<cpu<float>>>>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, biases_wanted>>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<cache_t<L, parameters_wanted>>);
  STATIC_REQUIRE(dense_layer<L>);
}

}  // namespace graft_test::adalora_tests
