// SPDX-License-Identifier: MIT
// tuning/compacter.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/compacter.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/frozen.hpp>

#include <set>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::compacter_tests {

namespace {

using B = cpu<double>;
using frozen_join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;

template <compacter Spec, class L>
auto with_compacter(L base) {
  return typename compacter::template apply<L, Spec>(std::move(base), Spec);
}
constexpr compacter small(bool shared_rule, bool shared_weight, bool factorized = true) {
  return {.width = 4,
          .dim = 2,
          .rank = 2,
          .factorized_weight = factorized,
          .factorized_rule = factorized,
          .shared_rule = shared_rule,
          .shared_weight = shared_weight};
}
template <compacter Spec>
void check_places() {
  const layout rows = sequences({1, 3, 2});
  constexpr auto with = [](placement where) {
    compacter c = Spec;
    c.place = where;
    return c;
  };
  check_layer(with_compacter<with(placement::after)>(frozen(linear<B>(4, 6))), rows);
  check_layer(with_compacter<with(placement::before)>(linear<B>(4, 6)), rows);
  check_layer(with_compacter<with(placement::parallel)>(frozen(linear<B>(4, 6))), rows);
  check_join(with_compacter<Spec>(frozen_join{frozen(layer_norm<B>(6))}), rows);
}

}  // namespace

TEST_CASE("a Compacter has the gradients of its formula at every place, shared or not") {
  check_places<small(false, false)>();
  check_places<small(true, false, false)>();
  check_places<small(true, true)>();
}

TEST_CASE("a Compacter trains with dropout, and lies in a join by its options") {
  const layout rows = sequences({1, 3, 2});
  constexpr compacter spec{.width = 2,
                           .dim = 2,
                           .bias = false,
                           .scale = 2,
                           .dropout = 0.3f,
                           .stochastic_depth = 0.3f,
                           .original_ln_after = false,
                           .residual = adapter_residual::input};
  check_join(with_compacter<spec>(frozen_join{frozen(layer_norm<B>(6))}), rows, true);
}

namespace {

struct compacters_everywhere {
  static constexpr recipe rules{on(at::attention | at::feed_forward, compacter{.width = 4}),
                                on(at::head, train{})};
};
using compacter_network = bert_classifier_network<cpu<float>, compacters_everywhere>;

}  // namespace

TEST_CASE("the rule of all Compacters of a model is one parameter") {
  compacter_network n(small_bert(), 2);
  prepare(n, 0);
  const auto store = gather(n);
  int rules = 0;
  for (const segment& s : store.segments)
    if (s.path.find("rule") != std::string::npos) {
      ++rules;
      CHECK(s.path == "compacter.rule");
      CHECK(s.size() == 4 * 4 * 4);
    }
  CHECK(rules == 1);
  std::set<const float*> places;
  for (const auto& p : list_parts(n).parameters)
    if (p.path == "compacter.rule")
      places.insert(p.data());
  CHECK(places.size() == 1);
  // In each of 3 layers, at 2 places: down [8, 4] of 4 · (2 + 1) + 4, up [4, 8] of 4 · (1 + 2) + 8.
  CHECK(count_parameters(n).trained == 64 + 3 * 2 * (4 * 3 + 4 + 4 * 3 + 8) + 2 * 9);
}

TEST_CASE("other sizes of a Compacter may be decided when a model is made") {
  compacter_network n(small_bert(), 2);
  prepare(n, 0, {{"width", 6}, {"dim", 2}, {"rank", 3}});
  for (const auto& p : list_parts(n).parameters) {
    if (p.path == "compacter.rule")
      CHECK(p.size() == 2 * 2 * 2);
    if (p.path == "layer.0.attention.adapter.down.weight_left")
      CHECK(p.size() == 2 * 4 * 3);
    if (p.path == "layer.0.attention.adapter.up.weight_right")
      CHECK(p.size() == 2 * 3 * 4);
  }
  CHECK_THROWS_AS(prepare(n, 0, {{"dim", 3}}), shape_error);
}

TEST_CASE("a fresh Compacter computes exactly the base, or almost") {
  random_stream random(3);
  host_workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  linear<B> base(8, 8);
  randomize(base, 4);
  const auto x = random_tensor<B>(memory, 3, 8, 1);
  const auto run = [&](const auto& l) {
    cache_t<std::remove_cvref_t<decltype(l)>, nothing_wanted> none;
    return values_of(l.template forward<nothing_wanted>(x, none, k));
  };
  constexpr compacter exact{.width = 4}, near{.width = 4, .init = adapter_init::near_identity};
  compacter::apply<linear<B>, exact> a(base, exact, random);
  CHECK(run(a) == run(base));
  CHECK(largest(values_of<double>(a.adapter.down.rule.whole)) > 0.2);
  compacter::apply<linear<B>, near> b(base, near, random);
  CHECK(run(b) != run(base));
  CHECK(relative_error(run(b), run(base)) < 1e-6);
}

}  // namespace graft_test::compacter_tests
