// SPDX-License-Identifier: MIT
// tuning/bottleneck_join.hpp, join_entry.hpp: how an adapter lies in a join.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>

#include <memory>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test::bottleneck_join_tests {

namespace {

using B = cpu<double>;
using trained_join = add_norm<layer_norm<B>, at::attention_norm_t>;
using frozen_join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;

constexpr bottleneck placed(bool before, bool after, adapter_residual residual) {
  return {
      .width = 3, .original_ln_before = before, .original_ln_after = after, .residual = residual};
}

template <bottleneck Spec, class J>
void check_in(J join, bool training = false) {
  using decorated = bottleneck::apply<J, Spec>;
  check_join(decorated(std::move(join), Spec), sequences({1, 3, 2}), training);
}

template <adapter_residual Residual, class J>
void check_norms_in(const J& join) {
  check_in<placed(true, true, Residual)>(join);
  check_in<placed(true, false, Residual)>(join);
  check_in<placed(false, true, Residual)>(join);
  check_in<placed(false, false, Residual)>(join);
}
template <class J>
void check_all_in(const J& join) {
  check_norms_in<adapter_residual::output>(join);
  check_norms_in<adapter_residual::input>(join);
  check_norms_in<adapter_residual::post_add>(join);
}

}  // namespace

TEST_CASE("every way to lie in a join has the gradients of its formula") {
  check_all_in(frozen_join{frozen(layer_norm<B>(5))});
}

TEST_CASE("every way to lie in a join leaves a trained join its gradients") {
  check_all_in(trained_join{layer_norm<B>(5)});
}

TEST_CASE("a bottleneck lies in a join without a norm, and with all its parts") {
  check_in<placed(true, true, adapter_residual::post_add)>(add<B>{5});
  check_in<placed(false, false, adapter_residual::input)>(add<B>{5});
  constexpr bottleneck all{.width = 3,
                           .inner = 2,
                           .dropout = 0.3f,
                           .scaling = adapter_scaling::channel,
                           .ln_before = true,
                           .ln_after = true,
                           .adapter_residual_before_ln = true,
                           .gating = true,
                           .stochastic_depth = 0.3f,
                           .original_ln_after = false,
                           .residual = adapter_residual::input};
  check_in<all>(frozen_join{frozen(layer_norm<B>(5))}, true);
  check_in<all>(trained_join{layer_norm<B>(5)}, true);
}

namespace {

// At h = 3 and t = 4, with A(x) = 10 x and h + t for a join.
template <bottleneck Spec>
double at_three_and_four() {
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  bottleneck::apply<add<B>, Spec> j(add<B>{1}, Spec);
  j.adapter.down.weight(0, 0) = 2, j.adapter.up.weight(0, 0) = 5;
  const auto number = [&](double value) {
    auto x = B::make(memory, 1, 1);
    x(0, 0) = value;
    return x;
  };
  cache_t<decltype(j), nothing_wanted> none;
  return j.template join<nothing_wanted>(number(3), number(4), none, k)(0, 0);
}

}  // namespace

TEST_CASE("the options of a bottleneck in a join are those of its formula") {
  CHECK(at_three_and_four<placed(true, true, adapter_residual::output)>() == Approx(70 + 3 + 4));
  CHECK(at_three_and_four<placed(true, true, adapter_residual::input)>() == Approx(70 + 7 + 4));
  CHECK(at_three_and_four<placed(true, true, adapter_residual::post_add)>() == Approx(70 + 7 + 4));
  CHECK(at_three_and_four<placed(true, false, adapter_residual::output)>() == Approx(70 + 3));
  CHECK(at_three_and_four<placed(true, false, adapter_residual::input)>() == Approx(70 + 7));
  CHECK(at_three_and_four<placed(false, true, adapter_residual::output)>() == Approx(30 + 3 + 4));
  CHECK(at_three_and_four<placed(false, true, adapter_residual::post_add)>() == Approx(30 + 7 + 4));
  CHECK(at_three_and_four<placed(false, false, adapter_residual::output)>() == Approx(30 + 3));
}

namespace {

// A join that counts its calls.
struct counting_join : add<B> {
  std::shared_ptr<int> joined = std::make_shared<int>(0), parted = std::make_shared<int>(0);

  template <demand D>
  tensor join(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    ++*joined;
    return add<B>::join<D>(std::move(h), t, c, k);
  }
  template <demand D, class G>
  auto split(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    ++*parted;
    return add<B>::split<D>(std::move(dy), c, g, k);
  }
};

// Calls of the join forward and backward.
template <bottleneck Spec, demand D>
std::pair<int, int> calls() {
  counting_join join{add<B>{4}};
  bottleneck::apply<counting_join, Spec> j(join, Spec);
  host_workspace memory;
  const layout rows = separate_rows(2);
  const context<B> k{memory, rows};
  const auto h = random_tensor<B>(memory, 2, 4, 1), t = random_tensor<B>(memory, 2, 4, 2);
  auto g = make_gradient(j);
  cache_t<decltype(j), D> cache{};
  j.template split<D>(j.template join<D>(h, t, cache, k), cache, &g.gradient, k);
  return {*join.joined, *join.parted};
}

}  // namespace

TEST_CASE(
    "the join before an adapter is gone back through only where something below it is reached") {
  using pair = std::pair<int, int>;
  CHECK(calls<placed(true, true, adapter_residual::output), all_wanted>() == pair{2, 2});
  CHECK(calls<placed(true, true, adapter_residual::output), parameters_wanted>() == pair{2, 1});
  CHECK(calls<placed(true, false, adapter_residual::input), all_wanted>() == pair{1, 1});
  CHECK(calls<placed(true, false, adapter_residual::input), parameters_wanted>() == pair{1, 0});
  CHECK(calls<placed(false, true, adapter_residual::output), parameters_wanted>() == pair{1, 1});
  CHECK(calls<placed(false, false, adapter_residual::output), all_wanted>() == pair{0, 0});
}

}  // namespace graft_test::bottleneck_join_tests
