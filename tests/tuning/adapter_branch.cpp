// SPDX-License-Identifier: MIT
// tuning/adapter_branch.hpp, adapter_scale.hpp, adapter_gate.hpp: the parts that an adapter may
// have.
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/frozen.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

using enum placement;

template <class L, bottleneck Spec>
auto grafted(L base) {
  return typename bottleneck::template apply<L, Spec>(std::move(base), Spec);
}

template <bottleneck Spec, class L>
void check_over(const L& base) {
  const layout rows = sequences({1, 3, 2});
  check_layer(grafted<L, Spec>(base), rows);
  check_layer(grafted<L, Spec>(base), rows, true);
}

constexpr bottleneck placed_at(bottleneck spec, placement where) {
  spec.place = where;
  return spec;
}
// After, before and beside a frozen map, and after a trained one.
template <class B, bottleneck Spec>
void check_everywhere() {
  check_over<placed_at(Spec, after)>(frozen(linear<B>(5, 4)));
  check_over<placed_at(Spec, before)>(frozen(linear<B>(5, 4)));
  if constexpr (!Spec.adapter_residual_before_ln)
    check_over<placed_at(Spec, parallel)>(frozen(linear<B>(5, 4)));
}

template <class B>
typename B::tensor filled(host_workspace& memory, index_t rows, std::vector<double> values) {
  auto x = B::make(memory, rows, static_cast<index_t>(values.size()) / rows);
  std::copy(values.begin(), values.end(), x.data);
  return x;
}

// A branch of one column in and out, D = 2, U = 3 and identity as its activation: A(x) = 6 x.
template <bottleneck Spec>
auto six() {
  adapter_branch<cpu<double>, Spec.form()> a(1, 1, Spec);
  random_stream random(3);
  a.initialize(random);
  a.function = activation::identity;
  a.down.weight(0, 0) = 2;
  a.up.weight(0, 0) = 3;
  return a;
}
template <class Branch>
std::vector<double> outputs(const Branch& a, const layout& rows, std::vector<double> x,
                            bool training = false, std::uint64_t step = 0) {
  host_workspace memory;
  const context<cpu<double>> k{memory, rows, training, 1, step};
  cache_t<Branch, nothing_wanted> none;
  return values_of(a.template forward<nothing_wanted>(
      filled<cpu<double>>(memory, rows.rows(), std::move(x)), none, k));
}

}  // namespace

TEST_CASE("a norm before the first matrix has the gradients of its formula") {
  check_everywhere<cpu<double>, bottleneck{.width = 3, .ln_before = true}>();
}

TEST_CASE("a norm after the last matrix has the gradients of its formula") {
  check_everywhere<cpu<double>, bottleneck{.width = 3, .ln_after = true}>();
  check_everywhere<cpu<double>, bottleneck{.width = 3,
                                           .dropout = 0.3f,
                                           .ln_after = true,
                                           .adapter_residual_before_ln = true}>();
}

TEST_CASE("a trained scale has the gradients of its formula") {
  check_everywhere<cpu<double>, bottleneck{.width = 3, .scaling = adapter_scaling::learned}>();
  check_everywhere<cpu<double>, bottleneck{.width = 3, .scaling = adapter_scaling::channel}>();
}

TEST_CASE("a gate has the gradients of its formula") {
  check_everywhere<cpu<double>, bottleneck{.width = 3, .gating = true}>();
}

TEST_CASE("stochastic depth has the gradients of its formula") {
  check_everywhere<cpu<double>, bottleneck{.width = 3, .stochastic_depth = 0.5f}>();
}

TEMPLATE_TEST_CASE("all parts of an adapter together have the gradients of their formula", "",
                   cpu<double>) {
  constexpr bottleneck all{.width = 4,
                           .inner = 3,
                           .activation = activation::gelu,
                           .dropout = 0.2f,
                           .scaling = adapter_scaling::channel,
                           .ln_before = true,
                           .ln_after = true,
                           .adapter_residual_before_ln = true,
                           .gating = true,
                           .stochastic_depth = 0.3f};
  check_everywhere<TestType, all>();
  check_over<all>(linear<TestType>(5, 4));
  check_over<all>(biases_only(toy_layer<TestType>(5)));
}

TEST_CASE("an adapter has the gradients of every activation") {
  using B = cpu<double>;
  const layout rows = sequences({1, 3, 2});
  for (int f = 0; f <= static_cast<int>(activation::leaky_relu); ++f) {
    const auto function = static_cast<activation>(f);
    INFO(name_of(function));
    const bottleneck spec{.width = 3, .activation = function};
    check_layer(bottleneck_layer<frozen<linear<B>>, after>(frozen(linear<B>(5, 4)), spec), rows);
  }
}

TEST_CASE("a trained scale begins at `scale` and multiplies what comes out") {
  const layout rows = sequences({2});
  auto one = six<bottleneck{.width = 1, .scale = 4, .scaling = adapter_scaling::learned}>();
  CHECK(outputs(one, rows, {1, -2}) == std::vector<double>{24, -48});
  one.learned_scale.value(0, 0) = 0.5;
  CHECK(outputs(one, rows, {1, -2}) == std::vector<double>{3, -6});

  constexpr bottleneck spec{.width = 1, .scaling = adapter_scaling::channel};
  adapter_branch<cpu<double>, spec.form()> each(1, 2, spec);
  random_stream random(3);
  each.initialize(random);
  CHECK(each.learned_scale.value.cols == 2);
  each.function = activation::identity;
  each.down.weight(0, 0) = 1;
  each.up.weight(0, 0) = 1, each.up.weight(1, 0) = 10;
  each.learned_scale.value(0, 0) = 2, each.learned_scale.value(0, 1) = 3;
  CHECK(outputs(each, sequences({1}), {5}) == std::vector<double>{10, 150});
}

TEST_CASE("a gate is one number per sequence, the mean over its tokens") {
  auto a = six<bottleneck{.width = 1, .gating = true}>();
  a.gate.map.weight(0, 0) = 1, a.gate.map.bias(0, 0) = -1;
  const auto open = [](double x) { return 1 / (1 + std::exp(1 - x)); };
  const double first = (open(1) + open(3)) / 2, second = open(-2);
  const auto y = outputs(a, sequences({2, 1}), {1, 3, -2});
  CHECK(y[0] == Approx(6 * first));
  CHECK(y[1] == Approx(18 * first));
  CHECK(y[2] == Approx(-12 * second));
}

TEST_CASE("a norm lies before or after an adapter, and takes the residual in or not") {
  host_workspace memory;
  const layout rows = sequences({1});
  const context<cpu<double>> k{memory, rows};
  const auto run = [&](const auto& a) {
    cache_t<std::remove_cvref_t<decltype(a)>, nothing_wanted> none;
    const auto x = filled<cpu<double>>(memory, 1, {1, 5}),
               r = filled<cpu<double>>(memory, 1, {7, 2});
    return values_of(a.template forward<nothing_wanted>(x, none, k, &r));
  };
  // D picks the second column, U puts it in the first.
  const auto set = [](auto& a) {
    random_stream random(1);
    a.initialize(random);
    a.function = activation::identity;
    a.down.weight(0, 0) = 0, a.down.weight(0, 1) = 1;
    a.up.weight(0, 0) = 1, a.up.weight(1, 0) = 0;
  };
  constexpr bottleneck in{.width = 1, .ln_before = true};
  adapter_branch<cpu<double>, in.form()> before(2, 2, in);
  set(before);
  CHECK(run(before)[0] == Approx(1 + 7));  // {1, 5} becomes {-1, 1}
  CHECK(run(before)[1] == Approx(2));

  constexpr bottleneck out{.width = 1, .ln_after = true};
  adapter_branch<cpu<double>, out.form()> after(2, 2, out);
  set(after);
  CHECK(run(after)[0] == Approx(1 + 7));  // {5, 0} becomes {1, -1}
  CHECK(run(after)[1] == Approx(-1 + 2));

  constexpr bottleneck both{.width = 1, .ln_after = true, .adapter_residual_before_ln = true};
  adapter_branch<cpu<double>, both.form()> around(2, 2, both);
  set(around);
  CHECK(run(around)[0] == Approx(1));  // {5 + 7, 0 + 2}
  CHECK(run(around)[1] == Approx(-1));
}

TEST_CASE("stochastic depth drops an adapter for whole sequences, and only while training") {
  const auto a = six<bottleneck{.width = 1, .stochastic_depth = 0.25f}>();
  layout rows;
  for (std::uint32_t example = 0; example < 400; ++example)
    rows.append(2, example);
  const std::vector<double> x(800, 1.0);
  CHECK(outputs(a, rows, x) == std::vector<double>(800, 6.0));
  const auto y = outputs(a, rows, x, true);
  int dropped = 0;
  for (std::size_t s = 0; s < 400; ++s) {
    CHECK(y[2 * s] == y[2 * s + 1]);
    CHECK((y[2 * s] == 0 || y[2 * s] == Approx(8)));
    dropped += y[2 * s] == 0;
  }
  CHECK(dropped > 70);
  CHECK(dropped < 130);
  CHECK(outputs(a, rows, x, true) == y);
  CHECK(outputs(a, rows, x, true, 1) != y);

  layout other;  // the same sequence in another batch
  other.append(2, 17);
  CHECK(outputs(a, other, {1, 1}, true)[0] == y[34]);
}

TEST_CASE("houlsby's initial values are small, and never beyond two deviations") {
  random_stream random(3);
  adapter_branch<cpu<double>> a(40, 30, {.width = 50, .init = adapter_init::houlsby});
  a.initialize(random);
  for (const linear<cpu<double>>* l : {&a.down, &a.up}) {
    const auto values = values_of<const double>(l->weight);
    CHECK(largest(values) <= 0.02);
    CHECK(largest(values) > 0.019);
    double squares = 0;
    for (double v : values)
      squares += v * v;
    // A normal cut off at two deviations has 0.88 of the deviation.
    CHECK(std::sqrt(squares / static_cast<double>(values.size())) == Approx(0.0088).epsilon(0.05));
  }
}

TEST_CASE("the parts of an adapter exist only where they are asked for") {
  const auto names = []<bottleneck Spec>() {
    adapter_branch<cpu<double>, Spec.form()> a(3, 2, Spec);
    std::string all;
    for (const auto& p : list_parts(a).parameters)
      all += p.path + " ";
    return all;
  };
  CHECK(names.operator()<bottleneck{}>() == "down.weight down.bias up.weight up.bias ");
  CHECK(names.operator()<bottleneck{.scaling = adapter_scaling::learned, .gating = true}>() ==
        "down.weight down.bias up.weight up.bias scale gate.weight gate.bias ");
  CHECK(names.operator()<bottleneck{.ln_before = true, .ln_after = true}>() ==
        "ln_before.weight ln_before.bias down.weight down.bias up.weight up.bias "
        "ln_after.weight ln_after.bias ");
}

TEST_CASE("an adapter with every part keeps nothing when nothing is asked of it") {
  constexpr bottleneck all{
      .scaling = adapter_scaling::channel, .ln_before = true, .ln_after = true, .gating = true};
  using decorated = bottleneck::apply<frozen<linear<cpu<float>>>, all>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<decorated, nothing_wanted>>);
}

}  // namespace graft_test
