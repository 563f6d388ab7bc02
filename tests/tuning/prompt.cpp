// SPDX-License-Identifier: MIT
// tuning/prompt.hpp, tuning/prompt_rows.hpp, and what the encoder and those that stand on it make
// of longer batches.
#include <graft/backend/cpu.hpp>
#include <graft/layer/embedding.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/masked_language_model.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/tuning/prompt.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test {

namespace {

using ids = std::vector<std::int32_t>;
using id_span = std::span<const std::int32_t>;

struct words {
  static constexpr recipe rules{on(at::word, prompt{.tokens = 2})};
};
struct encoded_words {
  static constexpr recipe rules{
      on(at::word, prompt{.tokens = 2, .encoder = prompt_encoder::mlp, .hidden = 3})};
};
struct behind_embeddings {
  static constexpr recipe rules{on(at::embeddings, prompt{.tokens = 2})};
};
struct words_and_all {
  static constexpr recipe rules{on(at::everything, train{}), on(at::word, prompt{.tokens = 2})};
};
struct behind_all {
  static constexpr recipe rules{
      on(at::everything, train{}),
      on(at::embeddings, prompt{.tokens = 2, .encoder = prompt_encoder::mlp, .hidden = 3})};
};

template <prompt_encoder Encoder, class B, class Table>
void check_table(Table table, const prompt& spec) {
  const layout rows = sequences({1, 3, 2});
  const ids chosen{4, 0, 2, 2, 5, 1};
  prompt_layer<Table, Encoder> layer(std::move(table), spec);
  check_network(layer, id_span(chosen), rows);
}

template <class T, class B>
void check_embeddings(bert_family family = bert_family::bert) {
  bert_config c = small_bert(family);
  c.positions = 9;
  typename bert<B, T>::embeddings_type layer(
      make_node<scope<T>, at::embeddings_t>(typename bert<B, T>::embeddings_base(c)));
  token_batch batch = small_batch(c);
  check_network(layer, batch, batch.rows, false);
  check_network(layer, batch, batch.rows, true);
}

}  // namespace

TEMPLATE_TEST_CASE("virtual rows have the gradients of their formula", "", cpu<double>) {
  using B = TestType;
  constexpr auto none = prompt_encoder::none, mlp = prompt_encoder::mlp;
  const prompt plain{.tokens = 2}, one{.tokens = 1},
      encoded{.tokens = 3, .encoder = mlp, .hidden = 4}, narrow{.tokens = 1, .encoder = mlp};
  check_table<none, B>(frozen<embedding<B>>(embedding<B>(6, 5)), plain);
  check_table<none, B>(embedding<B>(6, 5), one);
  check_table<mlp, B>(frozen<embedding<B>>(embedding<B>(6, 5)), encoded);
  check_table<mlp, B>(embedding<B>(6, 3), narrow);
}

TEMPLATE_TEST_CASE("longer embeddings have the gradients of their formula", "", cpu<double>) {
  using B = TestType;
  check_embeddings<words, B>();
  check_embeddings<encoded_words, B>();
  check_embeddings<behind_embeddings, B>();
  check_embeddings<words_and_all, B>(
      GENERATE(bert_family::bert, bert_family::roberta, bert_family::distilbert));
  check_embeddings<behind_all, B>();
}

namespace {

template <class Network, task_kind Task = task_kind::classification, class Batch, class... More>
void check_whole(Batch batch, const layout& rows, More... more) {
  bert_config c = small_bert(bert_family::bert, 2);
  c.task = Task;
  Network network(c, more...);
  check_network(network, batch, rows, false);
  check_network(network, batch, rows, true);
}

}  // namespace

TEST_CASE("classifiers, sentence encoders and masked language models go on with longer batches") {
  using B = cpu<double>;
  const token_batch batch = small_batch();
  check_whole<bert_classifier_network<B, words>>(batch, batch.rows, index_t{3});
  check_whole<bert_classifier_network<B, behind_all>>(batch, batch.rows, index_t{3});
  check_whole<bert_classifier_network<B, words>, task_kind::token_classification>(
      batch, batch.rows, index_t{3});
  check_whole<bert_classifier_network<B, behind_all>, task_kind::question_answering>(
      batch, batch.rows, index_t{2});
  check_whole<sentence_encoder_network<B, encoded_words>>(batch, batch.rows);
  check_whole<sentence_encoder_network<B, behind_embeddings>>(batch, batch.rows);
  const masked_batch masked{batch, {6, 0, 3}};
  check_whole<masked_language_network<B, words>>(masked, batch.rows);
  check_whole<masked_language_network<B, words_and_all>>(masked, batch.rows);
  check_whole<masked_language_network<B, behind_all>>(masked, batch.rows);
}

TEST_CASE("a prompt puts its rows in front of every sequence") {
  using B = cpu<double>;
  host_workspace memory;
  const layout rows = sequences({2, 0, 1});
  const context<B> k{memory, rows};
  embedding<B> table(3, 1);
  for (index_t i = 0; i < 3; ++i)
    table.weight(i, 0) = static_cast<double>(i);
  prompt_layer layer(table, prompt{.tokens = 2});
  layer.prompt.rows(0, 0) = 10, layer.prompt.rows(1, 0) = 11;
  cache_t<decltype(layer), nothing_wanted> cache;
  const ids chosen{2, 1, 0};
  const auto y = layer.forward<nothing_wanted>(id_span(chosen), cache, k);
  CHECK(values_of<double>(y) == std::vector<double>{10, 11, 2, 1, 10, 11, 10, 11, 0});
  const layout& longer = rows_after(layer, cache, rows);
  CHECK(longer.offsets == std::vector<index_t>{0, 4, 6, 9});
  // An example's rows are numbered anew; an empty sequence has no example.
  REQUIRE(longer.names.size() == 9);
  CHECK(longer.names[3].example == 5);
  CHECK(longer.names[3].token == 3);
  CHECK(longer.names[4].example == 0);
  CHECK(longer.names[8].example == 7);
  CHECK(longer.names[8].token == 2);
}

TEST_CASE("the rows of P-tuning are what its network makes") {
  using B = cpu<double>;
  host_workspace memory;
  const layout none;
  encoded_rows<B> source(1, 1, 1);
  source.rows(0, 0) = 2;
  source.first.weight(0, 0) = 3, source.first.bias(0, 0) = 1;     // 7
  source.second.weight(0, 0) = -1, source.second.bias(0, 0) = 9;  // 2
  source.third.weight(0, 0) = 5, source.third.bias(0, 0) = -20;   // -10
  cache_t<encoded_rows<B>, nothing_wanted> cache;
  CHECK(source.forward<nothing_wanted>(cache, {memory, none})(0, 0) == -10);
  source.second.bias(0, 0) = 6;  // below zero
  CHECK(source.forward<nothing_wanted>(cache, {memory, none})(0, 0) == -20);
}

TEST_CASE("a classifier with a prompt is one whose texts begin with those words") {
  using B = cpu<double>;
  const bert_config c = small_bert();
  bert_classifier_network<B, words> tuned(c, 3);
  bert_classifier_network<B, untuned> plain(c, 3);
  prepare(tuned, 5);
  prepare(plain, 5);
  const ids first{9, 3};
  tuned.bert.embeddings.word.start_from(first);

  token_batch batch = small_batch(c), longer;
  const ids longer_ids[] = {{9, 3, 7}, {9, 3, 1, 10, 0, 7}, {9, 3, 2, 2, 5}};
  const ids types[] = {{}, {0, 0, 0, 0, 1, 1}, {}};
  const std::uint32_t examples[] = {3, 4, 8};
  for (int s = 0; s < 3; ++s)
    longer.append(longer_ids[s], types[s], examples[s], c.first_position);

  host_workspace memory;
  const bool training = GENERATE(false, true);  // dropout has the longer batch's masks too
  cache_t<decltype(tuned), nothing_wanted> none;
  cache_t<decltype(plain), nothing_wanted> none_either;
  const auto y = tuned.forward<nothing_wanted>(batch, none, {memory, batch.rows, training, 3, 1});
  const auto expected =
      plain.forward<nothing_wanted>(longer, none_either, {memory, longer.rows, training, 3, 1});
  CHECK(values_of<double>(y) == values_of<double>(expected));
}

TEST_CASE("masked places are the same tokens behind a prompt") {
  using B = cpu<double>;
  const bert_config c = small_bert();
  masked_language_network<B, words> tuned(c);
  masked_language_network<B, untuned> plain(c);
  prepare(tuned, 5);
  prepare(plain, 5);
  const ids first{9, 3};
  tuned.bert.embeddings.word.start_from(first);
  masked_batch batch{{}, {4, 0, 2}}, longer{{}, {8, 2, 6}};
  batch.append(ids{7, 1}, {}, 3, 0);
  batch.append(ids{1, 10, 0}, {}, 4, 0);
  longer.append(ids{9, 3, 7, 1}, {}, 3, 0);
  longer.append(ids{9, 3, 1, 10, 0}, {}, 4, 0);
  host_workspace memory;
  cache_t<decltype(tuned), nothing_wanted> none;
  cache_t<decltype(plain), nothing_wanted> none_either;
  const auto y = tuned.forward<nothing_wanted>(batch, none, {memory, batch.rows});
  const auto expected =
      plain.forward<nothing_wanted>(longer, none_either, {memory, longer.rows});
  REQUIRE(y.rows == 3);
  CHECK(values_of<double>(y.rows_of(1, 2)) == values_of<double>(expected.rows_of(1, 2)));
}

TEST_CASE("virtual rows take their share of the positions, where they have any") {
  using B = cpu<double>;
  const bert_config c = small_bert();  // seven positions
  host_workspace memory;
  token_batch five, six, seven;
  for (auto [batch, length] : {std::pair{&five, 5u}, std::pair{&six, 6u}, std::pair{&seven, 7u}})
    batch->append(ids(length, 1), {}, 0, 0);
  const auto run = [&]<class T>(T, const token_batch& batch) {
    bert<B, T> encoder(c);
    prepare(encoder, 1);
    cache_t<bert<B, T>, nothing_wanted> cache;
    return encoder.template forward<nothing_wanted>(batch, cache, {memory, batch.rows}).rows;
  };
  CHECK(run(words{}, five) == 7);
  CHECK_THROWS_WITH(run(words{}, six),
                    "graft: embeddings: expected positions below 7, found 7 in a sequence of 8 "
                    "tokens, of which 2 are virtual");
  CHECK(run(behind_embeddings{}, seven) == 9);
  CHECK(bert<B, words>(c).longest(c) == 5);
  CHECK(bert<B, behind_embeddings>(c).longest(c) == 7);
  CHECK(bert<B, untuned>(c).longest(c) == 7);
}

TEST_CASE("fresh rows are what prompt.init says") {
  using B = cpu<double>;
  random_stream random(3);
  embedding<B> table(50, 40);
  randomize(table);
  const auto rows = [&](prompt_init how) {
    prompt_layer layer(table, prompt{.tokens = 20, .init = how}, random);
    layer.start_from_base();
    return values_of<double>(layer.prompt.rows);
  };
  const auto deviation = [](const std::vector<double>& v) {
    double squares = 0;
    for (double x : v)
      squares += x * x;
    return std::sqrt(squares / static_cast<double>(v.size()));
  };
  CHECK(deviation(rows(prompt_init::normal)) == Approx(1).epsilon(0.1));
  CHECK(largest(rows(prompt_init::uniform)) <= 0.5);
  CHECK(deviation(rows(prompt_init::uniform)) == Approx(0.5 / std::sqrt(3)).epsilon(0.1));
  // Each is a row of the table, and not all the same.
  const auto taken = rows(prompt_init::vocabulary);
  std::set<index_t> found;
  for (std::size_t i = 0; i < 20; ++i)
    for (index_t row = 0; row < 50; ++row)
      if (std::equal(taken.begin() + static_cast<std::ptrdiff_t>(i * 40),
                     taken.begin() + static_cast<std::ptrdiff_t>(i * 40 + 40),
                     table.weight.data + row * 40))
        found.insert(row);
  CHECK(found.size() > 10);
}

TEST_CASE("a prompt starts from tokens, over again until there are enough") {
  using B = cpu<double>;
  const bert_config c = small_bert();
  bert_classifier_network<B, behind_embeddings> network(c, 2);
  prepare(network, 1, {{"tokens", 3}});
  auto& layer = network.bert.embeddings;
  const auto& table = layer.base.word.weight;
  const ids two{4, 1};
  layer.start_from(two);
  for (index_t i = 0; i < 3; ++i)
    for (index_t j = 0; j < c.width; ++j)
      CHECK(layer.prompt.rows(i, j) == table(i == 1 ? 1 : 4, j));
  CHECK_THROWS_AS(layer.start_from(ids{}), input_error);
  CHECK_THROWS_AS(layer.start_from(ids{11}), input_error);
}

TEST_CASE("a prompt takes the numbers of a file") {
  using B = cpu<float>;
  prompt_layer plain(embedding<B>(6, 4), prompt{.tokens = 2});
  plain.renumber({{"tokens", 5}});
  CHECK(plain.virtual_rows() == 5);
  CHECK_THROWS_AS(plain.renumber({{"hidden", 3}}), input_error);
  CHECK_THROWS_AS(plain.renumber({{"tokens", 0}}), input_error);
  prompt_layer<embedding<B>, prompt_encoder::mlp> encoded(
      embedding<B>(6, 4), prompt{.tokens = 2, .encoder = prompt_encoder::mlp});
  CHECK(encoded.numbers().find("hidden") == 4);  // as wide as the rows
  encoded.renumber({{"hidden", 3}});
  CHECK(encoded.prompt.second.weight.rows == 3);
  CHECK(encoded.virtual_rows() == 2);
  CHECK_THROWS_AS(encoded.renumber({{"hidden", 0}}), input_error);
}

TEST_CASE("a prompt keeps tensors only for its encoder, and below it nothing is kept") {
  using B = cpu<float>;
  using network = bert<B, words>;
  using table = frozen<embedding<B>>;
  host_workspace memory;
  const layout rows = sequences({1, 3});
  const ids chosen{1, 2, 0, 1};
  const context<B> k{memory, rows};
  const auto kept = [&](auto layer) {
    cache_t<decltype(layer), parameters_wanted> cache;
    layer.template forward<parameters_wanted>(id_span(chosen), cache, k);
    return memory.bytes_in_use();
  };
  CHECK(kept(prompt_layer(table(embedding<B>(6, 4)), prompt{.tokens = 2})) == 0);
  CHECK(kept(prompt_layer<table, prompt_encoder::mlp>(
            table(embedding<B>(6, 4)), prompt{.tokens = 2, .encoder = prompt_encoder::mlp})) > 0);
  STATIC_REQUIRE(network::of_layers<parameters_wanted>.input);
  STATIC_REQUIRE(!network::of_layers<nothing_wanted>.input);
  STATIC_REQUIRE(!lengthens<bert<B, untuned>>);
  STATIC_REQUIRE(lengthens<network>);
}

}  // namespace graft_test
