// SPDX-License-Identifier: MIT
// train/step_memory.hpp: what is predicted against what steps take.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/train/loss.hpp>
#include <graft/train/optimizer.hpp>
#include <graft/train/step_memory.hpp>
#include <graft/tuning/strategies.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::step_memories {

using namespace graft;
using graft::index_t;
using F = cpu<float>;

bert_config six_layers() {
  bert_config c;
  c.width = 32;
  c.layers = 6;
  c.heads = 4;
  c.inner = 128;
  c.vocabulary = 50;
  c.positions = 100;
  return c;
}

token_batch sequences_of(const std::vector<index_t>& lengths) {
  token_batch batch;
  std::uint32_t number = 0;
  for (const index_t n : lengths)
    batch.append(std::vector<std::int32_t>(static_cast<std::size_t>(n), 3), {}, number++, 0);
  return batch;
}

template <class T>
using classifier = bert_classifier<F, T>;

// The bytes in use after forward, and the most of a whole step.
template <class Model>
std::pair<std::size_t, std::size_t> bytes_of_step(Model& model, const token_batch& batch) {
  host_workspace memory;
  typename Model::training_cache cache;
  auto gradient = make_gradient(model.network, model.parameters);
  const context<F> k{memory, batch.rows};
  auto outputs = model.network.template forward<training_demand>(batch, cache, k);
  const std::size_t kept = memory.bytes_in_use();
  const std::vector<std::int32_t> labels(static_cast<std::size_t>(batch.rows.sequences()), 1);
  auto r = cross_entropy{}.operator()<F>(outputs, labels, k);
  model.network.template backward<training_demand>(std::move(r.gradient), cache, &gradient.gradient, k);
  return {kept, memory.peak_bytes()};
}

TEMPLATE_TEST_CASE("what forward keeps is as predicted, and a step takes little more", "", strategies::full,
                   strategies::lora_query_value, strategies::houlsby, strategies::top2, strategies::bitfit) {
  classifier<TestType> model(six_layers(), {"a", "b"});
  const step_memory predicted = step_memory_of(model, 40);
  CHECK(predicted.length == 40);
  const token_batch batch = sequences_of({60, 20, 40, 40, 33, 47});
  const auto [kept, most] = bytes_of_step(model, batch);
  const auto tokens = static_cast<double>(batch.rows.rows());
  CHECK(static_cast<double>(kept) == Approx(predicted.kept_per_token * tokens).epsilon(0.02));
  CHECK(predicted.trained == 4 * static_cast<std::size_t>(model.parameters.size()));
  CHECK(predicted.moments == 2 * predicted.gradient);
  std::size_t all = 0;
  for (const auto& p : list_parts(model.network).parameters)
    all += 4 * static_cast<std::size_t>(p.size());
  CHECK(predicted.frozen + 4 * static_cast<std::size_t>(model.parameters.count()) == all);
  const std::size_t fixed = predicted.frozen + predicted.trained + predicted.gradient + predicted.moments;
  CHECK(static_cast<double>(fixed + most) < 1.2 * predicted.of(batch.rows.rows()));
}

TEST_CASE("where little is trained little is kept, and sequences are no longer than a model takes") {
  const classifier<strategies::head> head(six_layers(), {"a", "b"});
  const classifier<strategies::top2> top(six_layers(), {"a", "b"});
  const classifier<strategies::full> full(six_layers(), {"a", "b"});
  const auto kept = [](const auto& model) { return step_memory_of(model).kept_per_token; };
  CHECK(kept(head) < 0.01 * kept(full));
  CHECK(kept(top) < 0.4 * kept(full));
  CHECK(step_memory_of(full, 1000).length == 100);
  CHECK(describe(step_memory_of(full)).find("kept for backward") != std::string::npos);
}

}  // namespace graft_test::step_memories
