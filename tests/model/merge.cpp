// SPDX-License-Identifier: MIT
// model/merge.hpp.
#include <graft/model/bert_classifier.hpp>
#include <graft/model/merge.hpp>
#include <graft/tuning/adalora.hpp>
#include <graft/tuning/dora.hpp>
#include <graft/tuning/ia3.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/vera.hpp>

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"

namespace graft_test {

namespace {

struct by_lora {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 3, .dropout = 0.5f}),
                                on(at::word, lora{.rank = 2}), on(at::head, train{}),
                                on(at::layer, recompute{})};
};
struct by_dora {
  static constexpr recipe rules{on(at::projection, dora{.rank = 2}), on(at::head, train{})};
};
struct by_vera {
  static constexpr recipe rules{on(at::query | at::feed_forward_output, vera{.rank = 5}),
                                on(at::head, train{})};
};
struct by_adalora {
  static constexpr recipe rules{on(at::query, adalora{.rank = 4, .target_rank = 2}),
                                on(at::head, train{})};
};
struct by_ia3 {
  static constexpr recipe rules{on(at::key | at::value | at::pooler, ia3{}),
                                on(at::feed_forward_output, ia3{.place = ia3_place::input}),
                                on(at::head, train{})};
};

// With values as if training had moved everything that is trained.
template <class B, class T>
bert_classifier<B, T> trained(const std::string& base) {
  auto model = bert_classifier<B, T>::load(golden_path(base), {.seed = 5});
  random_stream random(11);
  for (const segment& s : model.parameters.segments)
    for (index_t i = s.offset; i < s.offset + s.size(); ++i)
      model.parameters.values.data[i] += static_cast<typename B::scalar>(0.1 * random.normal());
  return model;
}

template <class Model>
std::vector<typename Model::backend_type::scalar> logits_of(const Model& model) {
  golden peer("bert", "full");
  const token_batch batch = golden_batch(peer, model.config);
  host_workspace memory;
  const auto y = model.predict(batch, {memory, batch.rows});
  return {y.data, y.data + y.size()};
}

// Every matrix of a model: where it is, and its values.
template <class Model>
auto matrices_of(const Model& model) {
  using scalar = typename Model::backend_type::scalar;
  std::map<std::string, std::pair<const scalar*, std::vector<scalar>>> all;
  for (const auto& p : list_parts(model.network).parameters)
    all[p.path] = {p.data(), {p.data(), p.data() + p.size()}};
  return all;
}

}  // namespace

TEMPLATE_TEST_CASE("a merged model computes the same, and comes apart as it was", "", by_lora,
                   by_dora, by_vera, by_adalora, by_ia3) {
  using B = cpu<double>;
  auto model = trained<B, TestType>("bert");
  const auto before = logits_of(model);
  const auto matrices = matrices_of(model);

  auto both = merge_keeping(std::move(model));
  STATIC_REQUIRE(std::is_same_v<decltype(both.plain), bert_classifier<B, untuned>>);
  const auto plain = matrices_of(both.plain);
  CHECK(plain.at("head.classifier.weight").second == matrices.at("head.classifier.weight").second);
  CHECK(plain.at("head.classifier.bias").second == matrices.at("head.classifier.bias").second);
  // Only what was decorated is new; the rest lies where it was.
  std::size_t made = 0;
  for (const auto& [path, matrix] : plain)
    if (matrix.second != matrices.at(path).second)
      ++made;
    else if (!both.plain.departed.contains(path))
      CHECK(matrix.first == matrices.at(path).first);
  CHECK(made >= 3);
  CHECK(both.plain.departed.contains("layer.0.attention.query.weight") ==
        !std::is_same_v<TestType, by_ia3>);
  CHECK(error_of(std::span<const double>(logits_of(both.plain)), before) < 1e-10);

  // What trains the tuned one leaves the merged one alone.
  double& number = both.tuned.parameters.values.data[both.tuned.parameters.segments.back().offset];
  const double was = std::exchange(number, 7);
  CHECK(logits_of(both.tuned) != before);
  CHECK(error_of(std::span<const double>(logits_of(both.plain)), before) < 1e-10);
  number = was;

  const auto again = unmerge(std::move(both));
  CHECK(logits_of(again) == before);
  CHECK(matrices_of(again) == matrices);
}

TEST_CASE("over a base of 16 bits, updates are not rounded to them") {
  using B = cpu<float>;
  auto model = trained<B, by_lora>("bert_bf16");
  auto both = merge_keeping(std::move(model));
  const auto tuned = matrices_of(both.tuned), plain = matrices_of(both.plain);
  const std::string place = "layer.1.attention.value.";
  const auto &w = tuned.at(place + "weight").second, &a = tuned.at(place + "lora.a").second,
             &b = tuned.at(place + "lora.b").second;
  const std::size_t width = 16, rank = 3;
  std::vector<double> expected(w.begin(), w.end());
  for (std::size_t i = 0; i < width; ++i)
    for (std::size_t j = 0; j < width; ++j)
      for (std::size_t k = 0; k < rank; ++k)
        expected[i * width + j] += 16.0 / 3 * b[i * rank + k] * a[k * width + j];
  CHECK(error_of(std::span<const float>(plain.at(place + "weight").second), expected) < 1e-6);
  CHECK(matrices_of(unmerge(std::move(both))) == tuned);
}

}  // namespace graft_test
