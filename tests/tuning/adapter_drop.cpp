// SPDX-License-Identifier: MIT
// tuning/adapter_drop.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::adapter_drop_tests {

namespace {

using B = cpu<double>;

template <class L>
L dropped(L layer) {
  layer.dropped = true;
  return layer;
}

struct at_all_places {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 3}), on(at::attention_join, bottleneck{.width = 3}),
      on(at::feed_forward_join, compose::stack{.each = {.width = 3}}), on(at::head, train{})};
};
// The same in the highest layers alone.
template <auto Layers>
struct those {
  static constexpr recipe rules{
      on(at::feed_forward, bottleneck{.width = 3}, Layers),
      on(at::attention_join, bottleneck{.width = 3}, Layers),
      on(at::feed_forward_join, compose::stack{.each = {.width = 3}}, Layers),
      on(at::head, train{})};
};
template <class T>
bert_classifier<B, T> classifier() {
  bert_classifier<B, T> model(small_bert(), {"no", "yes"}, 7);
  // Values by path, the same in both models.
  for (const auto& p : list_parts(model.network).parameters) {
    random_stream random(5, hash_of(p.path));
    auto* data = const_cast<double*>(p.data());
    for (index_t i = 0; i < p.size(); ++i)
      data[i] = 0.3 * random.normal();
  }
  return model;
}
template <class Model>
std::vector<double> logits(const Model& model) {
  const token_batch batch = small_batch();
  host_workspace memory;
  return values_of(model.predict(batch, {memory, batch.rows}));
}

}  // namespace

TEST_CASE("a dropped adapter computes its base, has its gradients and learns nothing") {
  const layout rows = sequences({1, 3, 2});
  using trained_join = add_norm<layer_norm<B>, at::attention_norm_t>;
  using enum placement;
  check_layer(dropped(bottleneck_layer<linear<B>, after>(linear<B>(5, 4), {.width = 3})), rows);
  check_layer(dropped(bottleneck_layer<linear<B>, before>(linear<B>(5, 4), {.width = 3})), rows);
  check_layer(
      dropped(bottleneck_layer<frozen<linear<B>>, parallel>(frozen(linear<B>(5, 4)), {.width = 3})),
      rows);
  check_join(dropped(bottleneck_join(trained_join{layer_norm<B>(5)}, {.width = 3})), rows);
  check_join(dropped(compose::stack::apply<trained_join, compose::stack{}>(
                 trained_join{layer_norm<B>(5)}, compose::stack{})),
             rows);
  constexpr bottleneck plus{.original_ln_after = false, .residual = adapter_residual::input};
  check_join(dropped(bottleneck::apply<trained_join, plus>(trained_join{layer_norm<B>(5)}, plus)),
             rows);
}

TEST_CASE(
    "without the adapters of its lowest layers a model computes exactly what one without them "
    "does") {
  auto model = classifier<at_all_places>();
  const auto whole = logits(model);
  drop_adapters(model, 2);
  CHECK(logits(model) == logits(classifier<those<above(2)>>()));
  drop_adapters(model, 1);
  CHECK(logits(model) == logits(classifier<those<above(1)>>()));
  CHECK(logits(model) != whole);
  drop_adapters(model, 99);
  CHECK(logits(model) == logits(classifier<untuned>()));
  drop_adapters(model, 0);
  CHECK(logits(model) == whole);
}

}  // namespace graft_test::adapter_drop_tests
