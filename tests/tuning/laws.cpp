// SPDX-License-Identifier: MIT
// What holds for every decoration, whatever it computes.
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/attention.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/compacter.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/lora_conv2d.hpp>
#include <graft/tuning/prefix.hpp>
#include <graft/tuning/quantize.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/reft.hpp>
#include <graft/tuning/vera.hpp>

#include <set>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/toy_layer.hpp"

namespace graft_test::laws_tests {

namespace {

using B = cpu<double>;
using enum placement;
using paths = std::set<std::string>;

const layout law_rows = sequences({1, 3, 2});

template <class L>
struct trial {
  const L& layer;
  host_workspace memory{};
  context<B> k{memory, law_rows};
  B::tensor x = random_tensor<B>(memory, law_rows.rows(), layer.in(), 8);

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
  for (const auto& p : list_parts(layer).parameters)
    found.insert(p.path);
  return found;
}

// The bits of every parameter that is not in a gradient.
template <class L>
std::vector<double> frozen_values(L& layer, const parameter_store<B>& trained) {
  std::vector<double> values;
  const double *first = trained.values.data, *last = first + trained.size();
  for (const auto& p : list_parts(layer).parameters)
    if (p.data() && (p.data() < first || p.data() >= last))
      values.insert(values.end(), p.data(), p.data() + p.size());
  return values;
}

// `decorated` is `base` under a decoration which adds `own` paths that are trained and `fixed` that are
// not.
template <class Base, class L>
void trains_its_own(Base base, L decorated, const paths& own, const paths& fixed = {}) {
  trial<L> of_decorated{decorated};
  paths expected = paths_of(base);
  expected.insert(own.begin(), own.end());
  expected.insert(fixed.begin(), fixed.end());
  CHECK(paths_of(decorated) == expected);

  const std::vector<double> fresh = of_decorated.outputs();
  parameter_store<B> store = gather(decorated);
  CHECK(of_decorated.outputs() == fresh);
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

// … whose initial values do nothing (`rounding`: but for that of another order of operations), and which
// keeps nothing where nothing is asked.
template <class Base, class L>
void keeps_the_laws(Base base, L decorated, const paths& own, double rounding = 0,
                    const paths& fixed = {}) {
  STATIC_REQUIRE(std::is_trivially_destructible_v<cache_t<L, nothing_wanted>>);
  const std::vector<double> expected = trial<Base>{base}.outputs();
  CHECK(relative_error(trial<L>{decorated}.outputs(), expected) <= rounding);
  trains_its_own(std::move(base), std::move(decorated), own, fixed);
}

template <class L>
L random_layer(L layer) {
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
  low_rank_update_keeps_the_laws(frozen(random_layer(linear<B>(5, 4))));
  low_rank_update_keeps_the_laws(random_layer(linear<B>(5, 4, false)));
  low_rank_update_keeps_the_laws(frozen(random_layer(toy_layer<B>(5))));
  random_stream draw(3);
  const auto base = frozen(random_layer(linear<B>(5, 4)));
  keeps_the_laws(base,
                 lora_layer<frozen<linear<B>>, 3, lora_form{.train_a = false}>(
                     base, lora{.rank = 3, .train_a = false}, draw),
                 {"lora.b"}, 0, {"lora.a"});
}

TEST_CASE("the laws hold for DoRA") {
  dora_keeps_the_laws(frozen(random_layer(linear<B>(5, 4))));
  dora_keeps_the_laws(frozen(random_layer(linear<B>(4, 6, false))));
}

TEST_CASE("the laws hold for updates of a quantised linear") {
  quantized_linear base(frozen(random_layer(linear<B>(70, 4))));
  base.base_filled();
  low_rank_update_keeps_the_laws(base);
  dora_keeps_the_laws(base);
}

TEST_CASE("the laws hold for a bottleneck") {
  const auto base = frozen(random_layer(linear<B>(5, 4)));
  bottleneck_keeps_the_laws<after>(base);
  bottleneck_keeps_the_laws<before>(base);
  bottleneck_keeps_the_laws<parallel>(base);
  bottleneck_keeps_the_laws<skip>(base);
  bottleneck_keeps_the_laws<parallel>(biases_only(random_layer(toy_layer<B>(5))));
}

TEST_CASE("the laws hold for a bottleneck in a join") {
  random_stream draw(3);
  using join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;
  const join base{frozen(random_layer(layer_norm<B>(5)))};
  keeps_the_laws(
      join_layer_over<join>{base},
      join_layer_over<bottleneck_join<join>>{bottleneck_join(base, {.width = 3, .inner = 2}, draw)},
      of_three);
}

TEST_CASE("the laws hold for a bottleneck with further parts, and for a Compacter") {
  random_stream draw(3);
  const auto base = frozen(random_layer(linear<B>(6, 4)));
  using base_type = std::remove_const_t<decltype(base)>;
  constexpr bottleneck spec{.width = 3,
                            .scaling = adapter_scaling::channel,
                            .ln_before = true,
                            .gating = true,
                            .stochastic_depth = 0.5f};
  paths own = of_two;
  own.insert({"adapter.scale", "adapter.gate.weight", "adapter.gate.bias",
              "adapter.ln_before.weight", "adapter.ln_before.bias"});
  keeps_the_laws(base, bottleneck::apply<base_type, spec>(base, spec, draw), own);

  constexpr compacter small{.width = 4, .dim = 2};
  keeps_the_laws(base, compacter::apply<base_type, small>(base, small, draw),
                 {"compacter.rule", "adapter.down.weight_left", "adapter.down.weight_right",
                  "adapter.down.bias", "adapter.up.weight_left", "adapter.up.weight_right",
                  "adapter.up.bias"});
}

TEST_CASE("the laws hold for several adapters in a join") {
  using join = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;
  const join bare{frozen(random_layer(layer_norm<B>(5)))};
  const join_layer_over<join> base{bare};
  paths members;
  for (const char* name : {"adapter.a.", "adapter.b."})
    for (const char* part : {"down.weight", "down.bias", "up.weight", "up.bias"})
      members.insert(std::string(name) + part);
  const auto keep = [&]<auto Spec>(const paths& own, const paths& fixed) {
    random_stream draw(3);
    using what = std::remove_const_t<decltype(Spec)>;
    using made = typename what::template apply<join, Spec>;
    keeps_the_laws(base, join_layer_over<made>{made(bare, Spec, draw)}, own, 0, fixed);
  };
  constexpr bottleneck each{.width = 3};
  keep.operator()<compose::stack{.each = each}>(members, {});
  keep.operator()<compose::average{.each = each}>(members, {});
  keep.operator()<compose::split{.each = each}>(members, {});
  keep.operator()<compose::batch_split{.each = each}>(members, {});
  keep.operator()<compose::fuse{.each = each}>(
      {"adapter.fusion.query.weight", "adapter.fusion.query.bias", "adapter.fusion.key.weight",
       "adapter.fusion.key.bias", "adapter.fusion.value.weight"},
      members);
}

TEST_CASE("the laws hold for learned scales") {
  const auto base = frozen(random_layer(linear<B>(5, 4)));
  using base_type = std::remove_const_t<decltype(base)>;
  keeps_the_laws(base, ia3_layer<base_type, ia3_place::output>(base, {}), {"ia3.scale"});
  keeps_the_laws(base, ia3_layer<base_type, ia3_place::input>(base, {}), {"ia3.scale"});
  const auto own = biases_only(random_layer(toy_layer<B>(5)));
  keeps_the_laws(own, ia3_layer<biases_only<toy_layer<B>>, ia3_place::input>(own, {}),
                 {"ia3.scale"});
}

TEST_CASE("the laws hold for VeRA and AdaLoRA") {
  const auto keep = [](const auto& base) {
    random_stream draw(3);
    keeps_the_laws(base, vera_layer(base, vera{.rank = 3, .dropout = 0.5f}, draw),
                   {"vera.lambda_d", "vera.lambda_b"}, 0, {"vera.a", "vera.b"});
    keeps_the_laws(base, adalora_layer(base, adalora{.rank = 3, .target_rank = 2}, draw),
                   {"adalora.a", "adalora.e", "adalora.b"});
  };
  keep(frozen(random_layer(linear<B>(5, 4))));
  keep(random_layer(linear<B>(4, 6, false)));
  keep(frozen(random_layer(toy_layer<B>(5))));
}

TEST_CASE("the laws hold for edited rows, where an edit begins with nothing") {
  random_stream draw(3);
  const auto base = frozen(random_layer(linear<B>(5, 4)));
  using base_type = std::remove_const_t<decltype(base)>;
  const paths of_source{"reft.first.source.weight", "reft.first.source.bias"};
  const reft spec{.rank = 2, .prefix = 2};

  reft_layer<base_type, reft_kind::direft> direct(base, spec, draw);
  B::fill(direct.first.source.weight, 0);
  B::fill(direct.first.source.bias, 0);
  paths own = of_source;
  own.insert("reft.first.projection.rows");
  keeps_the_laws(base, direct, own);

  reft_layer<base_type, reft_kind::loreft> low(base, spec, draw);
  host_workspace memory;
  B::copy(low.first.source.weight, low.first.projection.rows({memory, law_rows}));
  B::fill(low.first.source.bias, 0);
  own = of_source;
  own.insert("reft.first.projection.reflections");
  keeps_the_laws(base, low, own, 1e-14, {"reft.first.projection.frame"});
}

TEST_CASE("the laws hold for a low-rank update of a convolution") {
  random_stream draw(3);
  const conv_geometry g{.size = {3, 4}, .channels = 2, .kernel = {2, 2}, .groups = 2};
  const auto keep = [&](const auto& base) {
    keeps_the_laws(base, lora_conv(base, lora{.rank = 2, .dropout = 0.5f}, draw),
                   {"lora.a", "lora.b"});
  };
  keep(random_layer(conv2d<B>(g, 4)));
  keep(frozen<conv2d<B>>(random_layer(conv2d<B>(g, 4))));
}

TEST_CASE("the laws hold for layers that compute again") {
  random_stream draw(3);
  const auto low = lora_layer(frozen(random_layer(linear<B>(5, 4))), lora{.rank = 2}, draw);
  keeps_the_laws(random_layer(linear<B>(5, 4)), recompute_layer(random_layer(linear<B>(5, 4))), {});
  keeps_the_laws(frozen(random_layer(linear<B>(5, 4))), recompute_layer(low), {"lora.a", "lora.b"});
}

namespace {

struct with_prefix {
  static constexpr recipe rules{on(at::memory, prefix{.tokens = 2})};
};
struct with_gated_prefix {
  static constexpr recipe rules{on(
      at::memory,
      prefix{.tokens = 2, .encoder = prompt_encoder::mlp, .gate = prefix_gate::one})};
};

template <class Tuning>
void prefix_trains(const paths& own) {
  random_stream draw(3);
  self_attention<B, scope<untuned>> base(6, 2);
  self_attention<B, scope<Tuning>> decorated(6, 2);
  randomize(base);
  decorated.memory.initialize(draw);
  trains_its_own(base, decorated, own);
}

}  // namespace

TEST_CASE("the laws hold for prefixes, but that tokens see a fresh one") {
  prefix_trains<with_prefix>({"memory.prefix.keys", "memory.prefix.values"});
  prefix_trains<with_gated_prefix>(
      {"prefix.embedding", "prefix.down.weight", "prefix.down.bias", "memory.prefix.up.weight",
       "memory.prefix.up.bias", "memory.prefix.gate.weight", "memory.prefix.gate.bias"});
}

TEST_CASE("the laws hold for decorations of decorations") {
  random_stream draw(3);
  const auto low = lora_layer(frozen(random_layer(linear<B>(5, 4))), lora{.rank = 2}, draw);
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

}  // namespace graft_test::laws_tests
