// SPDX-License-Identifier: MIT
// model/bert_classifier.hpp
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <set>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::bert_classifier_tests {

namespace {

using B = cpu<double>;

struct full {
  static constexpr recipe rules{on(at::everything, train{})};
};
struct head_only {
  static constexpr recipe rules{on(at::head, train{})};
};
struct top_two {
  static constexpr recipe rules{on(at::layer, train{}, top(2)), on(at::pooler | at::head, train{})};
};
struct bitfit {
  static constexpr recipe rules{on(at::everything, train{biases}), on(at::head, train{})};
};

template <class T>
void check_gradients(bert_family family = bert_family::bert,
                     task_kind task = task_kind::classification) {
  bert_config c = small_bert(family);
  c.task = task;
  bert_classifier_network<B, T> network(c, 3);
  prepare(network, 1);
  const token_batch batch = small_batch(c);
  check_network(network, batch, batch.rows, false);
  check_network(network, batch, batch.rows, true);
}

template <class T>
bert_classifier<B, T> fresh(std::uint64_t seed = 7) {
  bert_classifier<B, T> m(small_bert(), {"no", "yes"}, seed);
  randomize(m.network, seed);
  return m;
}

template <class M>
std::vector<double> logits(const M& m) {
  host_workspace memory;
  const token_batch batch = small_batch();
  return values_of<double>(m.predict(batch, {memory, batch.rows}));
}

template <class M>
std::vector<double> gradient_of(M& m) {
  host_workspace memory;
  const token_batch batch = small_batch();
  const context<B> k{memory, batch.rows};
  typename M::training_cache cache;
  auto g = make_gradient(m.network, m.parameters);
  auto y = m.network.template forward<training_demand>(batch, cache, k);
  m.network.template backward<training_demand>(std::move(y), cache, &g.gradient, k);
  return values_of<double>(g.values);
}

}  // namespace

TEST_CASE("a BERT that is trained as a whole has all gradients, in every family") {
  check_gradients<full>(bert_family::bert);
  check_gradients<full>(bert_family::roberta);
  check_gradients<full>(bert_family::distilbert);
}

TEST_CASE("a BERT has the gradients of whatever is trained of it") {
  check_gradients<head_only>();
  check_gradients<top_two>();
  check_gradients<bitfit>();
}

TEST_CASE("a BERT that is asked of every token has all gradients, in every family") {
  check_gradients<full>(bert_family::bert, task_kind::token_classification);
  check_gradients<full>(bert_family::roberta, task_kind::question_answering);
  check_gradients<full>(bert_family::distilbert, task_kind::token_classification);
  check_gradients<head_only>(bert_family::bert, task_kind::token_classification);
  check_gradients<top_two>(bert_family::bert, task_kind::question_answering);
}

TEST_CASE("a head for tokens has a row for each, and neither pooler nor dense map") {
  for (const bert_family family :
       {bert_family::bert, bert_family::roberta, bert_family::distilbert}) {
    bert_config c = small_bert(family);
    c.task = task_kind::token_classification;
    const bert_classifier<B, full> m(c, {"O", "B-PER", "I-PER"});
    host_workspace memory;
    const token_batch batch = small_batch(c);
    const auto y = m.predict(batch, {memory, batch.rows});
    CHECK(y.rows == 8);
    CHECK(y.cols == 3);
    std::string standing;
    for (const segment& s : m.parameters.segments)
      if (s.path.starts_with("head.") || s.path.starts_with("pooler."))
        standing += (s.size() > 0 ? s.path : "") + " ";
    CHECK_THAT(standing, Catch::Matchers::Contains("head.classifier.weight"));
    CHECK_THAT(standing, !Catch::Matchers::Contains("dense") && !Catch::Matchers::Contains("pooler"));
  }
}

TEST_CASE("a frozen encoder has no gradient and keeps nothing") {
  using N = bert_classifier_network<B, head_only>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<N::bert_type>, nothing>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<bert_classifier_network<B, untuned>>, nothing>);
  auto m = fresh<head_only>();
  host_workspace memory;
  const token_batch batch = small_batch();
  const context<B> k{memory, batch.rows};
  decltype(m)::training_cache cache;
  const auto y = m.network.forward<training_demand>(batch, cache, k);
  const std::size_t pooled = 3 * 8 * sizeof(double), out = 3 * 2 * sizeof(double);
  CHECK(memory.bytes_in_use() <= pooled + out + 2 * host_workspace::alignment);
}

TEST_CASE("gathering the parameters and moving a model change nothing") {
  bert_classifier<B, top_two> m = fresh<top_two>();
  const std::vector<double> y = logits(m), g = gradient_of(m);
  const double* place = m.parameters.values.data;
  bert_classifier<B, top_two> moved(std::move(m));
  CHECK(logits(moved) == y);
  CHECK(gradient_of(moved) == g);
  CHECK(moved.parameters.values.data == place);

  const parameter_store<B> again = gather(moved.network);
  CHECK(again.values.data != place);
  CHECK(values_of<double>(again.values) == values_of<double>(moved.parameters.values));
  CHECK(logits(moved) == y);
}

TEST_CASE("the store lists every trained parameter once, in the network's order") {
  bert_classifier<B, full> m = fresh<full>();
  std::vector<std::string> listed, stored;
  for (const auto& p : list_parts(m.network).parameters)
    listed.push_back(p.path);
  index_t end = 0, count = 0;
  for (const segment& s : m.parameters.segments) {
    stored.push_back(s.path);
    CHECK(s.offset >= end);
    CHECK(s.offset % segment_alignment == 0);
    end = s.offset + s.size();
    count += s.size();
  }
  CHECK(stored == listed);
  CHECK(std::set<std::string>(stored.begin(), stored.end()).size() == stored.size());
  CHECK(m.parameters.count() == count);
  CHECK(end <= m.parameters.size());
}

TEST_CASE("weight decay leaves biases and norms alone") {
  bert_classifier<B, full> m = fresh<full>();
  for (const segment& s : m.parameters.segments) {
    INFO(s.path);
    const bool small = s.path.ends_with(".bias") || s.path.ends_with("norm.weight");
    CHECK(s.decays == !small);
  }
}

TEST_CASE("a clone computes the same and is trained alone") {
  bert_classifier<B, top_two> m = fresh<top_two>();
  m.parameters.segments[1].rate_factor = 3;
  const std::vector<double> y = logits(m);
  bert_classifier<B, top_two> copy = m.clone();
  CHECK(logits(copy) == y);
  CHECK(gradient_of(copy) == gradient_of(m));
  CHECK(copy.labels == m.labels);
  CHECK(copy.config.width == 8);
  CHECK(copy.parameters.segments[1].rate_factor == 3);

  B::fill(copy.parameters.values, 0.25);
  CHECK(logits(copy) != y);
  CHECK(logits(m) == y);
}

TEST_CASE("clones share what is frozen") {
  bert_classifier<B, head_only> m = fresh<head_only>();
  const bert_classifier<B, head_only> copy = m.clone();
  CHECK(copy.network.bert.embeddings.word.weight.data ==
        m.network.bert.embeddings.word.weight.data);
  CHECK(copy.network.head.classifier.weight.data != m.network.head.classifier.weight.data);
}

TEST_CASE("equal seeds make equal models, others do not") {
  const auto made = [](std::uint64_t seed) {
    const bert_classifier<B, full> m(small_bert(), {"no", "yes"}, seed);
    return values_of<double>(m.parameters.values);
  };
  CHECK(made(1) == made(1));
  CHECK(made(1) != made(2));
}

TEST_CASE("depths that do not fit the model are refused when it is made") {
  const auto make = [](index_t layers) {
    bert_classifier_network<B, top_two>(small_bert(bert_family::bert, layers), 2);
  };
  CHECK_NOTHROW(make(2));
  CHECK_THROWS_WITH(make(1), Catch::Contains("top(2) do not fit a model of 1 layers"));
}

}  // namespace graft_test::bert_classifier_tests
