// SPDX-License-Identifier: MIT
// io/adapter_bank.hpp, io/bank_adapter.hpp
#include <graft/io/adapter_bank.hpp>
#include <graft/io/put_adapter.hpp>
#include <graft/tuning/lora.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/emulated_device.hpp"
#include "support/golden.hpp"
#include "support/small_bert.hpp"

namespace graft_test::adapter_bank_tests {

namespace {

using B = cpu<double>;
using bank = adapter_bank<B>;
using handle = bank::handle;
using Catch::Matchers::Contains;
using outputs = std::vector<double>;
constexpr std::uint64_t base_seed = 7;

struct all_dense_maps {
  static constexpr recipe rules{on(at::linear, lora{.rank = dynamic, .bias = true}),
                                on(at::head, train{})};
};
struct on_pooler {
  static constexpr recipe rules{on(at::pooler, lora{.rank = dynamic}), on(at::head, train{})};
};
struct with_pooler {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = dynamic}),
                                on(at::head | at::pooler, train{})};
};
struct without_head {
  static constexpr recipe rules{on(at::query | at::feed_forward_output, lora{.rank = dynamic})};
};
struct biases_of_head {
  static constexpr recipe rules{on(at::key, lora{.rank = dynamic, .train_a = false}),
                                on(at::head, train{biases})};
};

bert_config config_of(bert_family family, task_kind task = task_kind::classification) {
  bert_config c = small_bert(family, 2);
  c.positions = 16;
  c.task = task;
  return c;
}

template <class Model>
adapter_data data_from(const Model& model) {
  adapter_data data = data_of(model);
  data.source = "somewhere.json";
  return data;
}

// A model with random values in its trained part, over the base that all tests share.
template <class T>
bert_classifier<B, T> trained(const bert_config& c, int labels, const decoration_numbers& numbers,
                              std::uint64_t seed) {
  std::vector<std::string> names;
  for (int i = 0; i < labels; ++i)
    names.push_back("label " + std::to_string(i));
  bert_classifier<B, T> model(c, names, base_seed, numbers);
  random_stream random(seed);
  for (index_t i = 0; i < model.parameters.values.size(); ++i)
    model.parameters.values.data[i] = 0.4 * random.normal();
  return model;
}

bank small_bank(bert_family family = bert_family::bert) {
  return bank(bank::model_type(config_of(family), {"no", "yes"}, base_seed));
}

example_list random_examples(std::size_t count) {
  random_stream random(3);
  example_list all(count);
  for (example& e : all) {
    e.ids.resize(1 + random.below(9));
    for (std::int32_t& id : e.ids)
      id = static_cast<std::int32_t>(random.below(11));
  }
  return all;
}

template <class Model>
outputs alone(const Model& model, const example& e) {
  token_batch batch;
  batch.append(e.ids, e.types, 0, model.config.first_position);
  host_workspace memory;
  const auto y = model.predict(batch, {memory, batch.rows});
  return {y.data, y.data + y.size()};
}

double difference(const outputs& a, const outputs& b) {
  if (a.size() != b.size())
    return INFINITY;
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

outputs one(const bank& b, const example& e, const handle& under) {
  return b.predict(std::vector{e}, std::vector{under}).front();
}

// An adapter of rank 2 on the query maps with a head of two labels, to be spoiled.
adapter_data good_data() {
  auto data = data_from(trained<with_pooler>(config_of(bert_family::bert), 2, {{"rank", 2}}, 5));
  for (auto it = data.decorations.begin(); it != data.decorations.end();)
    it = it->first == "layer.0.attention.query" ? std::next(it) : data.decorations.erase(it);
  std::erase_if(data.tensors, [](const auto& t) {
    return t.first.find(".lora.") != std::string::npos &&
           !t.first.starts_with("layer.0.attention.query");
  });
  return data;
}

std::string refusal(const adapter_data& data) {
  bank b = small_bank();
  const std::string message = message_of<checkpoint_error>([&] { b.load("bad", data); });
  CHECK(b.names().empty());
  CHECK_THAT(message, Contains("somewhere.json"));
  return message;
}

}  // namespace

TEST_CASE("each example of a mixed batch is answered as by its adapter alone") {
  const auto family = GENERATE(bert_family::bert, bert_family::roberta, bert_family::distilbert);
  bank b = small_bank(family);
  const example_list examples = random_examples(40);
  std::vector<handle> under(examples.size());
  std::vector<outputs> expected(examples.size());
  std::size_t next = 0;
  // Gives the adapter every eleventh example.
  const auto add = [&](const auto& model, const adapter_data& data) {
    const handle h = b.load("adapter " + std::to_string(next), data);
    CHECK(h->task == model.config.task);
    CHECK(h->labels == model.labels);
    for (std::size_t i = next; i < examples.size(); i += 11) {
      under[i] = h;
      expected[i] = alone(model, examples[i]);
    }
    ++next;
  };
  const auto add_trained = [&]<class T>(T, task_kind task, int labels, int rank, bool root) {
    const auto model = trained<T>(
        config_of(family, task), labels,
        {{"rank", rank}, {"alpha", 3.0 * rank}, {"over_root", root ? 1.0 : 0.0}}, 20 + next);
    add(model, data_from(model));
  };
  using enum task_kind;
  add_trained(all_dense_maps{}, classification, 2, 1, false);
  add_trained(with_pooler{}, classification, 3, 2, true);
  add_trained(all_dense_maps{}, classification, 3, 3, true);
  add_trained(with_pooler{}, regression, 1, 4, false);
  add_trained(all_dense_maps{}, token_classification, 5, 5, false);
  add_trained(with_pooler{}, question_answering, 2, 6, false);
  add_trained(all_dense_maps{}, classification, 2, 7, false);
  add_trained(biases_of_head{}, classification, 2, 8, false);
  if (family == bert_family::bert)
    add_trained(on_pooler{}, classification, 3, 2, false);
  {
    const auto model = trained<without_head>(config_of(family), 2, {{"rank", 3}}, 90);
    adapter_data data = data_from(model);
    data.task.reset();
    add(model, data);
  }
  {
    const bert_classifier<B> base(config_of(family), {"no", "yes"}, base_seed);
    for (std::size_t i = 0; i < examples.size(); ++i)
      if (!under[i])
        expected[i] = alone(base, examples[i]);
  }
  const auto found = b.predict(examples, under);
  REQUIRE(found.size() == examples.size());
  for (std::size_t i = 0; i < examples.size(); ++i) {
    INFO("example " << i << " under " << (under[i] ? under[i]->name : "the base"));
    CHECK(difference(found[i], expected[i]) < 1e-10);
  }
  CHECK(b.predict(examples, under) == found);
}

TEST_CASE("a bank over an encoder with its norms before the layers") {
  constexpr auto order = norm_order::before;
  const bert_config c = config_of(bert_family::roberta_prelayernorm);
  adapter_bank<B, order> b(bert_classifier<B, bank_tuning, order>(c, {"no", "yes"}, base_seed));
  bert_classifier<B, with_pooler, order> model(c, {"x", "y", "z"}, base_seed, {{"rank", 2}});
  random_stream random(1);
  for (index_t i = 0; i < model.parameters.values.size(); ++i)
    model.parameters.values.data[i] = 0.4 * random.normal();
  const auto h = b.load("one", data_from(model));
  const example e{.ids = {1, 2, 3}};
  CHECK(difference(b.predict(std::vector{e}, std::vector{h}).front(), alone(model, e)) < 1e-10);
}

TEST_CASE("an adapter that is replaced or unloaded lives while somebody has it") {
  bank b = small_bank();
  const example e{.ids = {1, 2, 3}};
  const auto first_model = trained<with_pooler>(config_of(bert_family::bert), 2, {{"rank", 2}}, 1);
  const auto other_model = trained<with_pooler>(config_of(bert_family::bert), 3, {{"rank", 5}}, 2);
  const handle first = b.load("b", data_from(first_model));
  b.load("a", data_from(other_model));
  CHECK(b.names() == std::vector<std::string>{"a", "b"});
  CHECK(b.find("b") == first);
  const outputs was = one(b, e, first);

  const handle second = b.load("b", data_from(other_model));
  CHECK(b.find("b") == second);
  CHECK(b.names().size() == 2);
  CHECK(one(b, e, first) == was);
  CHECK(difference(one(b, e, second), alone(other_model, e)) < 1e-10);

  const std::weak_ptr<const bank::adapter> watched = second;
  b.unload("b");
  CHECK(b.names() == std::vector<std::string>{"a"});
  CHECK_THROWS_WITH(b.find("b"),
                    "graft: adapter_bank: expected the name of an adapter, found \"b\"");
  CHECK_THROWS_AS(b.unload("b"), input_error);
  CHECK(one(b, e, second).size() == 3);
  const_cast<handle&>(second).reset();
  CHECK(watched.expired());

  adapter_data bad = good_data();
  bad.tensors.erase("layer.0.attention.query.lora.b");
  const handle a = b.find("a");
  CHECK_THROWS_AS(b.load("a", bad), checkpoint_error);
  CHECK(b.find("a") == a);
}

TEST_CASE("what a bank cannot hold is refused by name") {
  adapter_data data = good_data();
  SECTION("nothing") {
    bank b = small_bank();
    CHECK(b.load("good", data)->updates.size() == 1);
    data.decorations["layer.1.attention.query"]["lora"].numbers = {{"rank", 0}};
    CHECK(b.load("with an empty one", data)->updates.size() == 1);
  }
  SECTION("another method") {
    data.decorations["layer.0.feed_forward"]["bottleneck"];
    data.tensors["layer.0.feed_forward.adapter.up.bias"] = stored(1, 1, outputs{1});
    const std::string message = refusal(data);
    CHECK_THAT(message, Contains("layer.0.feed_forward: expected lora alone, found bottleneck"));
    CHECK_THAT(message, Contains("layer.0.feed_forward.adapter.up.bias: no place in a bank"));
  }
  SECTION("a place that is no dense map of it") {
    data.decorations["embeddings.word"]["lora"].numbers = {{"rank", 2}, {"alpha", 1}};
    CHECK_THAT(refusal(data), Contains("embeddings.word: a bank has no place for lora there"));
  }
  SECTION("a pooler that the base does not have") {
    bank b = small_bank(bert_family::roberta);
    data.decorations["pooler"]["lora"].numbers = {{"rank", 2}, {"alpha", 1}};
    CHECK_THAT(message_of<checkpoint_error>([&] { b.load("bad", data); }),
               Contains("pooler: a bank has no place for lora there") &&
                   Contains("pooler.weight: no place in a bank"));
  }
  SECTION("a gate") {
    data.decorations["layer.0.attention.query"]["lora"].form["gating"] = "true";
    CHECK_THAT(refusal(data),
               Contains("layer.0.attention.query: lora.gating: expected false, found true"));
  }
  SECTION("no alpha") {
    data.decorations["layer.0.attention.query"]["lora"].numbers = {{"rank", 2}};
    CHECK_THAT(refusal(data),
               Contains("layer.0.attention.query: lora.alpha: expected, found none"));
  }
  SECTION("a number that is none") {
    data.decorations["layer.0.attention.query"]["lora"].numbers.set("rank", 1.5);
    CHECK_THAT(refusal(data), Contains("layer.0.attention.query: lora.rank: expected a whole"));
  }
  SECTION("another rank than it says") {
    data.decorations["layer.0.attention.query"]["lora"].numbers.set("rank", 3);
    CHECK_THAT(refusal(data),
               Contains("layer.0.attention.query.lora.a: expected [3, 8], found [2, 8]"));
  }
  SECTION("ranks that differ") {
    data.tensors["layer.0.attention.query.lora.b"] = stored(8, 3, outputs(24));
    CHECK_THAT(refusal(data),
               Contains("layer.0.attention.query.lora.b: expected [8, 2], found [8, 3]"));
  }
  SECTION("a matrix that is not there") {
    data.tensors.erase("layer.0.attention.query.lora.b");
    CHECK_THAT(refusal(data), Contains("layer.0.attention.query.lora.b: expected, found none"));
  }
  SECTION("whole numbers") {
    data.tensors["layer.0.attention.query.lora.a"].type = dtype::i64;
    CHECK_THAT(refusal(data), Contains("layer.0.attention.query.lora.a: expected F32, F16, BF16 or "
                                       "F64, found I64"));
  }
  SECTION("a parameter of the base") {
    data.tensors["layer.0.attention.query.bias"] = stored(1, 8, outputs(8));
    CHECK_THAT(refusal(data), Contains("layer.0.attention.query.bias: no place in a bank"));
  }
  SECTION("rows of a table") {
    data.rows["embeddings.word.weight"] = {{3}, stored(1, 8, outputs(8))};
    CHECK_THAT(refusal(data),
               Contains("embeddings.word.weight: no place in a bank for some rows of it"));
  }
  SECTION("several heads") {
    data.tasks = {{"x", {"a", "b"}}, {"y", {"a", "b"}}};
    CHECK_THAT(refusal(data), Contains("expected one head, found those of 2 tasks"));
  }
  SECTION("half a head for other labels") {
    data.tensors.erase("head.classifier.bias");
    data.tensors["head.classifier.weight"] = stored(3, 8, outputs(24));
    data.labels.clear();
    CHECK_THAT(refusal(data), Contains("head.classifier.bias: expected, found none"));
  }
  SECTION("labels that are not the head's") {
    data.labels.push_back("third");
    CHECK_THAT(refusal(data), Contains("labels: expected 2, found 3"));
  }
  SECTION("no head for its task") {
    std::erase_if(data.tensors, [](const auto& t) { return t.first.starts_with("head."); });
    data.task = task_kind::token_classification;
    CHECK_THAT(refusal(data), Contains("head: expected one for token-classification, since the "
                                       "base's is for classification"));
  }
}

TEST_CASE("what cannot be predicted is refused") {
  const bank b = small_bank();
  const example e{.ids = {1, 2, 3}};
  const auto message = [&](const example_list& examples, const std::vector<handle>& under) {
    return message_of<input_error>([&] { b.predict(examples, under); });
  };
  CHECK(b.predict({}, {}).empty());
  CHECK_THAT(message({e, e}, {nullptr}),
             Contains("an adapter (or null) for each of 2 examples, found 1"));
  CHECK_THAT(message({e, {}}, {nullptr, nullptr}),
             Contains("example 1: expected tokens, found none"));
  CHECK_THAT(message({example{.ids = std::vector<std::int32_t>(17, 1)}}, {nullptr}),
             Contains("expected positions below 16"));
  bank other = small_bank();
  CHECK_THAT(message({e}, {other.load("its", good_data())}),
             Contains("example 0: expected an adapter of this bank, found \"its\" of another"));
  CHECK(one(b, e, nullptr).size() == 2);
}

TEST_CASE("a bank opens a folder, whose weights stay in the file") {
  using C = cpu<float>;
  const example e{.ids = {1, 5, 3}};
  adapter_bank<C> b(golden_path("bert"));
  const auto base = bert_classifier<C>::load(golden_path("bert"));
  const auto y = b.predict(std::vector{e}, {std::vector{adapter_bank<C>::handle()}}).front();
  token_batch batch;
  batch.append(e.ids, {}, 0, 0);
  host_workspace memory;
  const auto expected = base.predict(batch, {memory, batch.rows});
  REQUIRE(static_cast<index_t>(y.size()) == expected.size());
  for (std::size_t i = 0; i < y.size(); ++i)  // of all rows here, of the first alone there
    CHECK(std::abs(y[i] - expected.data[i]) < 1e-5f);
  const auto file = safetensors_file::open(golden_path("bert/model.safetensors"));
  for (const auto& p : list_parts(b.base().network).parameters) {
    INFO(p.path);
    const tensor_entry* entry = file.find(checkpoint_name(bert_family::bert, p.path).value());
    REQUIRE(entry);
    // The offset in a page is that in the file, for a mapping begins with a page.
    CHECK((reinterpret_cast<std::uintptr_t>(p.data()) -
           reinterpret_cast<std::uintptr_t>(entry->data)) %
              4096 ==
          0);
    CHECK(p.weight->owner);
  }
  adapter_data data;
  data.source = "somewhere.json";
  data.base = {"another", "0123456789abcdef"};
  CHECK_THROWS_WITH(b.load("x", data),
                    Contains("somewhere.json: expected an adapter of the base with fingerprint " +
                             fingerprint(checkpoint::open(golden_path("bert"))) +
                             ", found one of another with fingerprint 0123456789abcdef"));
  data.base.fingerprint = fingerprint(checkpoint::open(golden_path("bert")));
  CHECK(b.load("x", data)->labels == b.base().labels);
}

TEST_CASE("a base without a head answers under adapters that have one") {
  using C = cpu<float>;
  adapter_bank<C> b(golden_path("bert_bare"));
  const example e{.ids = {1, 5, 3}};
  CHECK_THROWS_WITH(b.predict(std::vector{e}, {std::vector{adapter_bank<C>::handle()}}),
                    Contains("example 0: expected an adapter, since the base has no head"));
  adapter_data data;
  data.source = "somewhere.json";
  CHECK_THROWS_WITH(b.load("x", data),
                    Contains("head: expected one for classification, since the base has none"));
  const index_t width = b.base().config.width;
  data.tensors["head.classifier.weight"] =
      stored(4, width, std::vector<float>(static_cast<std::size_t>(4 * width), 0));
  data.tensors["head.classifier.bias"] = stored(1, 4, std::vector<float>{1, 2, 3, 4});
  const auto h = b.load("x", data);
  CHECK(b.predict(std::vector{e}, std::vector{h}).front() == std::vector<float>{1, 2, 3, 4});
}

TEMPLATE_TEST_CASE("a bank over a GPU answers as over the CPU", "", emulated<float>, emulated<bf16>) {
  using gpu_bank = adapter_bank<TestType>;
  const bert_config c = config_of(bert_family::bert);
  bank on_cpu = small_bank();
  gpu_bank on_gpu(typename gpu_bank::model_type(c, {"no", "yes"}, base_seed));
  const auto data = data_from(trained<all_dense_maps>(c, 3, {{"rank", 2}, {"alpha", 4}}, 11));
  const auto examples = random_examples(6);
  std::vector<handle> wanted(6);
  std::vector<typename gpu_bank::handle> found(6);
  wanted[1] = wanted[4] = on_cpu.load("one", data);
  found[1] = found[4] = on_gpu.load("one", data);
  const auto expected = on_cpu.predict(examples, wanted);
  const auto outputs_of_gpu = on_gpu.predict(examples, found);
  const double tolerance = std::is_same_v<TestType, emulated<float>> ? 1e-5 : 4e-2;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    double size = 0;
    for (const double y : expected[i])
      size = std::max(size, std::abs(y));
    const outputs mine(outputs_of_gpu[i].begin(), outputs_of_gpu[i].end());
    CHECK(difference(mine, expected[i]) < tolerance * size);
  }
}

}  // namespace graft_test::adapter_bank_tests
