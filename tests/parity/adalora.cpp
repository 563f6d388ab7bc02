// SPDX-License-Identifier: MIT
// AdaLoRA against PEFT: what it computes, and which ranks it takes away.
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

using tuning_of_run = strategies::adalora;
const decoration_numbers numbers_of_run{
    {"rank", 4}, {"target_rank", 2}, {"alpha", 8}, {"warmup", 2}, {"settle", 2}};
const renaming names_of_run = endings(
    bert_family::bert, {{"adalora.a", "lora_A"}, {"adalora.e", "lora_E"}, {"adalora.b", "lora_B"}});

}  // namespace

TEMPLATE_TEST_CASE("AdaLoRA computes and learns what PEFT's does", "", cpu<double>, cpu<float>) {
  golden peer("bert", "adalora");
  peer.values("orth");  // these two are for the next case
  peer.integers("ranks");
  auto model = bert_classifier<TestType, tuning_of_run>::load(golden_path("bert"),
                                                              {.numbers = numbers_of_run});
  check_parity(model, peer, golden_batch(peer, model.config), names_of_run);
}

TEST_CASE("AdaLoRA takes away the ranks that PEFT's does, and adds the same penalties") {
  using B = cpu<double>;
  golden peer("bert", "adalora");
  auto model =
      bert_classifier<B, tuning_of_run>::load(golden_path("bert"), {.numbers = numbers_of_run});
  start_from(peer, names_of(bert_family::bert, names_of_run), model.network);
  const token_batch batch = golden_batch(peer, model.config);
  const auto labels = peer.integers("input.labels");
  const auto ranks = peer.integers("ranks");
  const auto orth = peer.values("orth");
  REQUIRE(ranks.size() == 11 * 6 * 4);

  B::workspace memory;
  const context<B> k{memory, batch.rows};
  decltype(model)::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  optimizer<B> method(adamw{.rate = peer.number("learning_rate")}, model.parameters);
  std::size_t at = 0, taken = 0;
  for (int step = 0; step <= 10; ++step) {
    INFO("step " << step);
    for_each_layer(model.network, [&](const std::string& path, auto& layer) {
      if constexpr (requires { layer.importance; })
        for (index_t i = 0; i < layer.rank(); ++i) {
          INFO(path << ", rank " << i);
          CHECK((layer.e(0, i) != 0) == (ranks[at] == 1));
          taken += ranks[at++] == 0;
        }
    });
    gradient.clear();
    const auto outputs = model.network.template forward<training_demand>(batch, cache, k);
    auto r = cross_entropy{}.template operator()<B>(outputs, labels, k);
    model.network.template backward<training_demand>(std::move(r.gradient), cache,
                                                     &gradient.gradient, k);
    const double penalty = add_penalties(model.network, gradient.gradient);
    CHECK(penalty == Approx(0.5 * orth[static_cast<std::size_t>(step)]).epsilon(1e-9));
    method.step(model.parameters, gradient.values);
    after_step<tuning_of_run>(model.network, gradient.gradient, {step + 1, 10});
  }
  CHECK(at == ranks.size());
  CHECK(taken > 0);
}

}  // namespace graft_test
