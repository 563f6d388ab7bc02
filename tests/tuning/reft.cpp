// SPDX-License-Identifier: MIT
// tuning/reft.hpp and tuning/reft_unit.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/occupant.hpp>
#include <graft/tuning/reft.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

using enum reft_kind;

template <reft_kind Kind, class L>
reft_layer<L, Kind> edited(L base, const reft& spec) {
  random_stream random(3);
  return {std::move(base), spec, random};
}

template <class B, class Projection, bool Subtract>
auto unit_of(index_t r, index_t width) {
  random_stream random(3);
  reft_unit<B, Projection, Subtract> u(r, width);
  u.initialize(random);
  u.projection.initialize(random);
  return u;
}

// |R Rᵀ − 1|, the largest element.
template <class B>
double distance_from_orthonormal(const orthonormal_rows<B>& p) {
  host_workspace memory;
  const layout none;
  const context<B> k{memory, none};
  const auto r = p.rows(k);
  auto product = k.make(r.rows, r.rows);
  B::product_nt(product, r, r, 1, false);
  for (graft::index_t i = 0; i < r.rows; ++i)
    product(i, i) -= 1;
  return largest(values_of(product));
}

}  // namespace

TEMPLATE_TEST_CASE("an edit of rows has the gradients of its formula", "", cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 3});
  check_layer(unit_of<B, orthonormal_rows<B>, true>(3, 5), rows);
  check_layer(unit_of<B, orthonormal_rows<B>, true>(4, 4), rows);
  check_layer(unit_of<B, orthonormal_rows<B>, false>(1, 4), rows);
  check_layer(unit_of<B, free_rows<B>, true>(2, 5), rows);
  check_layer(unit_of<B, free_rows<B>, false>(2, 5), rows);
}

TEMPLATE_TEST_CASE("a layer whose rows are edited has the gradients of its formula", "",
                   cpu<double>) {
  using B = TestType;
  const layout rows = sequences({1, 6, 3, 2, 4});
  const bool training = GENERATE(false, true);
  const reft both{.rank = 2, .prefix = 2, .suffix = 1, .dropout = 0.3f};
  check_layer(edited<loreft>(frozen(linear<B>(3, 4)), both), rows, training);
  check_layer(edited<noreft>(linear<B>(3, 4, false), both), rows, training);
  check_layer(edited<direft>(biases_only(toy_layer<B>(4)), both), rows, training);
  check_layer(edited<loreft>(frozen(linear<B>(3, 4)), {.prefix = 3, .suffix = 0}), rows, training);
  check_layer(edited<noreft>(frozen(linear<B>(3, 4)), {.prefix = 0, .suffix = 2}), rows, training);
}

TEST_CASE("rows stay orthonormal wherever their reflections go") {
  using B = cpu<double>;
  random_stream random(8);
  orthonormal_rows<B> p(4, 9);
  p.initialize(random);
  CHECK(distance_from_orthonormal(p) < 1e-14);
  for (graft::index_t i = 0; i < p.reflections.size(); ++i)
    p.reflections.data[i] += 3 * random.normal();
  CHECK(distance_from_orthonormal(p) < 1e-14);
  CHECK_THROWS_AS(orthonormal_rows<B>(5, 4), shape_error);
}

TEST_CASE("without a frame, a fresh projection takes the first columns, and a reflection is that") {
  using B = cpu<double>;
  host_workspace memory;
  const layout none;
  const context<B> k{memory, none};
  orthonormal_rows<B> p(1, 2);
  p.frame = {};
  p.reflections(0, 0) = -1;
  CHECK(values_of(p.rows(k)) == std::vector<double>{1, 0});
  p.reflections(0, 1) = 2;  // v = (1, 2): (1, 0) goes to (1, 0) − 2 · 1 / 5 · (1, 2), and the sign
  const std::vector<double> expected{-(1 - 2.0 / 5), 4.0 / 5};
  CHECK(relative_error(values_of(p.rows(k)), expected) < 1e-15);
  p.reflections(0, 0) = 1;
  CHECK(relative_error(values_of(p.rows(k)), {0.6, -0.8}) < 1e-15);
}

TEST_CASE("a fresh frame lies in every direction alike") {
  using B = cpu<double>;
  host_workspace memory;
  const layout none;
  const context<B> k{memory, none};
  random_stream random(5);
  constexpr int draws = 2000;
  double squares[3] = {}, mixed = 0, last_of_second = 0;
  for (int i = 0; i < draws; ++i) {
    orthonormal_rows<B> p(2, 3);
    p.initialize(random);
    const auto r = p.rows(k);
    for (graft::index_t j = 0; j < 3; ++j)
      squares[j] += r(0, j) * r(0, j) / draws;
    mixed += r(0, 0) * r(0, 1) / draws;
    last_of_second += r(1, 2) * r(1, 2) / draws;
  }
  for (double square : squares)
    CHECK(square == Approx(1.0 / 3).margin(0.03));
  CHECK(std::abs(mixed) < 0.03);
  CHECK(last_of_second == Approx(1.0 / 3).margin(0.03));
}

TEST_CASE("an edit is h + (W h + b − R h) R") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  reft_unit<B, free_rows<B>, true> with(1, 2);
  with.source.weight(0, 0) = 2, with.source.weight(0, 1) = 3, with.source.bias(0, 0) = 0.5;
  with.projection.values(0, 0) = 1, with.projection.values(0, 1) = -1;
  auto x = k.make(1, 2);
  x(0, 0) = 10, x(0, 1) = 100;
  cache_t<decltype(with), nothing_wanted> none;
  CHECK(values_of(with.forward<nothing_wanted>(x, none, k)) ==
        std::vector<double>{10 + 410.5, 100 - 410.5});  // 320.5 − (10 − 100)
  reft_unit<B, free_rows<B>, false> without;
  without.source = with.source;
  without.projection = with.projection;
  cache_t<decltype(without), nothing_wanted> nor;
  CHECK(values_of(without.forward<nothing_wanted>(x, nor, k)) ==
        std::vector<double>{10 + 320.5, 100 - 320.5});
}

TEST_CASE("the first and last tokens of a sequence are edited, the last ones first") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({1, 2, 3, 4, 6});
  const context<B> k{memory, rows};
  linear<B> identity(1, 1, false);
  identity.weight(0, 0) = 1;
  auto l = edited<direft>(identity, {.rank = 1, .prefix = 2, .suffix = 2});
  for (auto* u : {&l.first, &l.last}) {  // adds 10 in front, 100 behind
    u->source.weight(0, 0) = 0;
    u->projection.values(0, 0) = 1;
  }
  l.first.source.bias(0, 0) = 10;
  l.last.source.bias(0, 0) = 100;
  auto x = k.make(rows.rows(), 1);
  B::fill(x, 0);
  cache_t<decltype(l), nothing_wanted> none;
  CHECK(values_of(l.forward<nothing_wanted>(x, none, k)) ==
        std::vector<double>{100, 100, 100, 10, 100, 100, 10, 10, 100, 100, 10, 10, 0, 0, 100, 100});
  const layout other = sequences({3});
  CHECK_THROWS_AS(l.forward<nothing_wanted>(x, none, context<B>{memory, other}), shape_error);
}

TEST_CASE("dropout acts on edited rows alone, and only while training") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({5, 2});
  const auto x = random_tensor<B>(memory, 7, 4, 1);
  const auto l =
      edited<loreft>(frozen(toy_layer<B>(4)), {.prefix = 1, .suffix = 1, .dropout = 0.6f});
  cache_t<decltype(l), nothing_wanted> none;
  const auto kept = values_of(l.forward<nothing_wanted>(x, none, {memory, rows, false}));
  const auto dropped = values_of(l.forward<nothing_wanted>(x, none, {memory, rows, true}));
  int zeros = 0;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    const std::size_t row = i / 4;
    const bool is_edited = row == 0 || row >= 4;
    INFO(row);
    if (is_edited)
      CHECK((dropped[i] == 0 || dropped[i] == Approx(kept[i] / 0.4)));
    else
      CHECK(dropped[i] == kept[i]);
    zeros += is_edited && dropped[i] == 0;
  }
  CHECK(zeros > 0);
}

TEST_CASE("tokens that are not edited have no parameters") {
  using B = cpu<double>;
  auto l = edited<loreft>(frozen(linear<B>(4, 4)), {.rank = 2, .prefix = 1});
  CHECK(gather(l).count() == 2 * 4 + 2 + 2 * 4);
  l.renumber({{"prefix", 0}, {"suffix", 1}, {"rank", 3}});
  CHECK(gather(l).count() == 3 * 4 + 3 + 3 * 4);
  CHECK(l.first.rank() == 0);
  CHECK(l.rank() == 3);
  CHECK_THROWS_AS(l.renumber({{"suffix", 0}}), input_error);
  CHECK_THROWS_AS(l.renumber({{"rank", 5}}), shape_error);
}

TEST_CASE("the reflections are spared by weight decay, other matrices are not") {
  using B = cpu<double>;
  const reft spec{.rank = 2, .prefix = 1};
  const auto decays = [](auto layer) {
    std::vector<bool> flags;
    for (const segment& s : gather(layer).segments)
      flags.push_back(s.decays);
    return flags;
  };
  using flags = std::vector<bool>;  // W, b, and P or R
  CHECK(decays(edited<loreft>(frozen(linear<B>(4, 4)), spec)) == flags{true, false, false});
  CHECK(decays(edited<noreft>(frozen(linear<B>(4, 4)), spec)) == flags{true, false, true});
}

TEST_CASE("an edited layer keeps what goes back through its edits, and no more") {
  using L = reft_layer<frozen<linear<cpu<float>>>, loreft>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, nothing_wanted>>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<cache_t<L, input_wanted>>);
  STATIC_REQUIRE(sized_layer<L>);
  STATIC_REQUIRE(!dense_layer<L>);
}

}  // namespace graft_test
