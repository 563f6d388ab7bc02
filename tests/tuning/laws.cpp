// SPDX-License-Identifier: MIT
// What holds for every decoration, whatever it computes.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora.hpp>

#include <set>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test {

namespace {

using B = cpu<double>;
using enum placement;
using paths = std::set<std::string>;

const layout rows = sequences({1, 3, 2});

template <class L>
struct trial {
  const L& layer;
  host_workspace memory{};
  context<B> k{memory, rows};
  B::tensor x = random_tensor<B>(memory, rows.rows(), layer.in(), 8);

  std::vector<double> outputs() {
    cache_t<L, nothing_wanted> none{};
    return values_of(layer.template forward<nothing_wanted>(x, none, k));
  }
  void add_gradient(gradient_t<L>* g) {
    cache_t<L, all_wanted> cache{};
    auto y = layer.template forward<all_wanted>(x, cache, k);
    layer.template backward<all_wanted>(std::move(y), cache, g, k);
  }
};

template <class L>
paths paths_of(L& layer) {
  paths found;
  for_each_parameter(layer, [&](const std::string& path, auto, auto&) { found.insert(path); });
  return found;
}

// The bits of every parameter that is not in a gradient.
template <class L>
std::vector<double> frozen_values(L& layer, const parameter_store<B>& trained) {
  std::vector<double> values;
  const double *first = trained.values.data, *last = first + trained.size();
  for_each_parameter(layer, [&](const std::string&, auto, auto& p) {
    if (p.data < first || p.data >= last)
      for (index_t i = 0; i < p.size(); ++i)
        values.push_back(p.data[i]);
  });
  return values;
}

// `decorated` is `base` under a decoration whose initial values do nothing (`rounding`: but for that of
// another order of operations), and which adds `own` paths that are trained and `fixed` that are not.
template <class Base, class L>
void keeps_the_laws(Base base, L decorated, const paths& own, double rounding = 0,
                    const paths& fixed = {}) {
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, nothing_wanted>>);

  trial<Base> of_base{base};
  trial<L> of_decorated{decorated};
  CHECK(relative_error(of_decorated.outputs(), of_base.outputs()) <= rounding);

  paths expected = paths_of(base);
  expected.insert(own.begin(), own.end());
  expected.insert(fixed.begin(), fixed.end());
  CHECK(paths_of(decorated) == expected);

  parameter_store<B> store = gather(decorated);
  CHECK(relative_error(of_decorated.outputs(), of_base.outputs()) <= rounding);
  paths trained;
  for (const segment& s : store.segments)
    trained.insert(s.path);
  if constexpr (!trainable<Base>)
    CHECK(trained == own);
  else
    CHECK(std::includes(trained.begin(), trained.end(), own.begin(), own.end()));

  randomize(decorated);
  gradient_buffer<L> g = make_gradient(decorated, store);
  of_decorated.add_gradient(&g.gradient);
  std::vector<double> twice = values_of<double>(g.values);
  CHECK(std::any_of(twice.begin(), twice.end(), [](double v) { return v != 0; }));
  for (double& v : twice)
    v *= 2;
  of_decorated.add_gradient(&g.gradient);
  CHECK(relative_error(values_of<double>(g.values), twice) < 1e-13);
  g.clear();
  CHECK(values_of<double>(g.values) == std::vector<double>(twice.size(), 0.0));

  const std::vector<double> frozen_before = frozen_values(decorated, store);
  const std::vector<double> before = of_decorated.outputs();
  of_decorated.add_gradient(&g.gradient);
  B::add_scaled(store.values, g.values, -0.1);
  CHECK(frozen_values(decorated, store) == frozen_before);
  CHECK(of_decorated.outputs() != before);
}

template <class L>
L random(L layer) {
  randomize(layer, 5);
  return layer;
}

template <class L>
void low_rank_update_keeps_the_laws(const L& base) {
  random_stream draw(3);
  keeps_the_laws(base, lora_layer(base, lora{.rank = 3, .dropout = 0.5f}, draw),
                 {"lora.a", "lora.b"});
  keeps_the_laws(base,
                 lora_layer<L, 2>(base, lora{.rank = 2, .scaling = lora_scaling::over_root}, draw),
                 {"lora.a", "lora.b"});
}

template <class L>
void dora_keeps_the_laws(const L& base) {
  random_stream draw(3);
  keeps_the_laws(base, dora_layer(base, dora{.rank = 3, .dropout = 0.5f}, draw),
                 {"dora.a", "dora.b", "dora.magnitude"}, 1e-14);
}

const paths of_two{"adapter.down.weight", "adapter.down.bias", "adapter.up.weight",
                   "adapter.up.bias"};
const paths of_three{"adapter.down.weight", "adapter.down.bias", "adapter.middle.weight",
                     "adapter.middle.bias", "adapter.up.weight", "adapter.up.bias"};

template <placement Where, class L>
void bottleneck_keeps_the_laws(const L& base) {
  random_stream draw(3);
  using decorated = bottleneck_layer<L, Where>;
  keeps_the_laws(base, decorated(base, {.width = 3, .scale = 2, .dropout = 0.5f}, draw), of_two);
  keeps_the_laws(base, decorated(base, {.width = 3, .inner = 2}, draw), of_three);
}

}  // namespace

TEST_CASE("the laws hold for a low-rank update") {
  low_rank_update_keeps_the_laws(frozen(random(linear<B>(5, 4))));
  low_rank_update_keeps_the_laws(random(linear<B>(5, 4, false)));
  low_rank_update_keeps_the_laws(frozen(random(toy_layer<B>(5))));
  random_stream draw(3);
  const auto base = frozen(random(linear<B>(5, 4)));
  keeps_the_laws(base,
                 lora_layer<frozen<linear<B>>, 3, lora_form{.train_a = false}>(
                     base, lora{.rank = 3, .train_a = false}, draw),
                 {"lora.b"}, 0, {"lora.a"});
}

TEST_CASE("the laws hold for DoRA") {
  dora_keeps_the_laws(frozen(random(linear<B>(5, 4))));
  dora_keeps_the_laws(frozen(random(linear<B>(4, 6, false))));
}

TEST_CASE("the laws hold for a bottleneck") {
  const auto base = frozen(random(linear<B>(5, 4)));
  bottleneck_keeps_the_laws<after>(base);
  bottleneck_keeps_the_laws<before>(base);
  bottleneck_keeps_the_laws<parallel>(base);
  bottleneck_keeps_the_laws<skip>(base);
  bottleneck_keeps_the_laws<parallel>(biases_only(random(toy_layer<B>(5))));
}

TEST_CASE("the laws hold for a bottleneck in a join") {
  random_stream draw(3);
  using join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;
  const join base{frozen(random(layer_norm<B>(5)))};
  keeps_the_laws(
      join_layer_over<join>{base},
      join_layer_over<bottleneck_join<join>>{bottleneck_join(base, {.width = 3, .inner = 2}, draw)},
      of_three);
}

TEST_CASE("the laws hold for decorations of decorations") {
  random_stream draw(3);
  const auto low = lora_layer(frozen(random(linear<B>(5, 4))), lora{.rank = 2}, draw);
  bottleneck_keeps_the_laws<parallel>(frozen(low));
  bottleneck_keeps_the_laws<after>(low);
}

TEST_CASE("biases and norms are no matter for weight decay, matrices are") {
  random_stream draw(3);
  using join = add_norm<layer_norm<B>, at::attention_norm_t>;
  bottleneck_join<join> decorated(join{layer_norm<B>(5)}, {.width = 3}, draw);
  auto low = lora_layer(linear<B>(5, 4), lora{.rank = 2}, draw);
  std::set<std::string> decaying, others;
  const auto sort = [&](const parameter_store<B>& store) {
    for (const segment& s : store.segments)
      (s.decays ? decaying : others).insert(s.path);
  };
  sort(gather(decorated));
  CHECK(decaying == paths{"adapter.down.weight", "adapter.up.weight"});
  CHECK(others == paths{"norm.weight", "norm.bias", "adapter.down.bias", "adapter.up.bias"});
  decaying.clear();
  others.clear();
  sort(gather(low));
  CHECK(decaying == paths{"weight", "lora.a", "lora.b"});
  CHECK(others == paths{"bias"});
}

}  // namespace graft_test
