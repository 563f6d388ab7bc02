// SPDX-License-Identifier: MIT
// tuning/strategies.hpp: what each of them trains, in a BERT with 3 layers of width 8. What they
// compute is in parity/.
#include <graft/backend/cpu.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/strategies.hpp>

#include <cstdint>
#include <map>
#include <string>

#include "support/catch.hpp"
#include "support/small_bert.hpp"

namespace {

using namespace graft;
using counts = std::map<std::string, std::int64_t>;

constexpr int classes = 3, width = 8, inner = 12, layers = 3;

template <class T>
parameter_count counted(const decoration_numbers& numbers = {}) {
  bert_classifier_network<cpu<float>, T> network(graft_test::small_bert(), classes);
  prepare(network, 0, numbers);
  return count_parameters(network);
}

template <class T>
counts trained(const decoration_numbers& numbers = {}) {
  counts sites;
  for (const site_count& s : counted<T>(numbers).sites)
    if (s.trained > 0)
      sites[s.site] = s.trained;
  return sites;
}

// The head, and more.
counts head_and(const counts& more) {
  counts all{{"head.classifier", classes * (width + 1)}};
  all.insert(more.begin(), more.end());
  return all;
}

// The parameters of an adapter with 5 columns, in each of n layers.
counts adapter(const std::string& site, int n = layers) {
  return {{site + ".adapter.down", n * 5 * (width + 1)}, {site + ".adapter.up", n * width * 6}};
}

counts joined(counts a, const counts& b) {
  a.insert(b.begin(), b.end());
  return a;
}

}  // namespace

TEST_CASE("full trains everything") {
  const parameter_count count = counted<strategies::full>();
  CHECK(count.trained == count.total);
  CHECK(count.share() == 1);
}

TEST_CASE("head trains the head") { CHECK(trained<strategies::head>() == head_and({})); }

TEST_CASE("top2 trains the two highest layers, the pooler and the head") {
  const counts two = trained<strategies::top2>();
  CHECK(two.at("layer.*.attention.query") == 2 * width * (width + 1));
  CHECK(two.at("layer.*.feed_forward.input") == 2 * inner * (width + 1));
  CHECK(two.at("layer.*.feed_forward_join.norm") == 2 * 2 * width);
  CHECK(two.at("pooler") == width * (width + 1));
  CHECK(two.at("head.classifier") == classes * (width + 1));
  CHECK(two.size() == 8 + 2);
}

TEST_CASE("bitfit trains the biases and the head") {
  CHECK(trained<strategies::bitfit>() ==
        head_and({{"embeddings.norm", width},
                  {"layer.*.attention.query", layers * width},
                  {"layer.*.attention.key", layers * width},
                  {"layer.*.attention.value", layers * width},
                  {"layer.*.attention.output", layers * width},
                  {"layer.*.attention_join.norm", layers * width},
                  {"layer.*.feed_forward.input", layers * inner},
                  {"layer.*.feed_forward.output", layers * width},
                  {"layer.*.feed_forward_join.norm", layers * width},
                  {"pooler", width}}));
}

TEST_CASE("norms_and_biases trains the gains too") {
  counts expected = trained<strategies::bitfit>();
  for (const char* norm :
       {"embeddings.norm", "layer.*.attention_join.norm", "layer.*.feed_forward_join.norm"})
    expected[norm] *= 2;
  CHECK(trained<strategies::norms_and_biases>() == expected);
}

TEST_CASE("the LoRA strategies train two thin matrices at each of their places") {
  const decoration_numbers n{{"rank", 2}};
  const std::int64_t square = layers * 2 * (width + width), flat = layers * 2 * (width + inner);
  const counts query_value{{"layer.*.attention.query.lora", square},
                           {"layer.*.attention.value.lora", square}};
  CHECK(trained<strategies::lora_query_value>(n) == head_and(query_value));
  CHECK(trained<strategies::qlora>(n) == head_and(query_value));
  CHECK(trained<strategies::lora_all_linear>(n) ==
        head_and(joined(query_value, {{"layer.*.attention.key.lora", square},
                                      {"layer.*.attention.output.lora", square},
                                      {"layer.*.feed_forward.input.lora", flat},
                                      {"layer.*.feed_forward.output.lora", flat}})));
  CHECK(trained<strategies::lora_pfeiffer>({{"rank", 2}, {"width", 5}}) ==
        head_and(joined(query_value, adapter("layer.*.feed_forward_join"))));
}

TEST_CASE("the bottleneck strategies train an adapter at each of their places") {
  const decoration_numbers n{{"width", 5}};
  CHECK(trained<strategies::houlsby>(n) ==
        head_and(joined(adapter("layer.*.attention"), adapter("layer.*.feed_forward"))));
  CHECK(trained<strategies::pfeiffer>(n) == head_and(adapter("layer.*.feed_forward_join")));
  CHECK(trained<strategies::parallel>(n) == head_and(adapter("layer.*.feed_forward")));
  CHECK(trained<strategies::skip>(n) == head_and(adapter("layer.*")));
}

TEST_CASE("a learned scale is one more number of an adapter, or one for each column") {
  const decoration_numbers n{{"width", 5}};
  CHECK(trained<strategies::scaled_parallel>(n) ==
        head_and(joined(adapter("layer.*.feed_forward"),
                        {{"layer.*.feed_forward.adapter", layers}})));
  CHECK(trained<strategies::adapter_plus>(n) ==
        head_and(joined(adapter("layer.*.feed_forward_join"),
                        {{"layer.*.feed_forward_join.adapter", layers * width}})));
}

TEST_CASE("a Compacter trains thin factors and biases in every layer, and one rule for all") {
  // W of rank 1: 4 · (8 / 4 + 4 / 4) at either matrix.
  const std::int64_t down = layers * (4 * 3 + 4), up = layers * (4 * 3 + width);
  const auto compacters = [&](const std::string& site) {
    return counts{{site + ".adapter.down", down}, {site + ".adapter.up", up}};
  };
  const counts rule{{"compacter", 4 * 4 * 4}};
  CHECK(trained<strategies::compacter>({{"width", 4}}) ==
        head_and(joined(rule, joined(compacters("layer.*.attention"),
                                     compacters("layer.*.feed_forward")))));
  CHECK(trained<strategies::compacter_plus>({{"width", 4}}) ==
        head_and(joined(rule, compacters("layer.*.feed_forward_join"))));
}

TEST_CASE("ia3 trains three vectors in a layer, vera two at each of its places") {
  CHECK(trained<strategies::ia3>() == head_and({{"layer.*.attention.key.ia3", layers * width},
                                                {"layer.*.attention.value.ia3", layers * width},
                                                {"layer.*.feed_forward.output.ia3", layers * inner}}));
  const std::int64_t scales = layers * (2 + width);
  CHECK(trained<strategies::vera>({{"rank", 2}}) ==
        head_and({{"layer.*.attention.query.vera", scales},
                  {"layer.*.attention.value.vera", scales}}));
  const parameter_count count = counted<strategies::vera>({{"rank", 2}});
  CHECK(count.total == counted<strategies::head>().total + 2 * scales + 2 * 2 * width);
}

TEST_CASE("adalora trains two thin matrices and what weighs their ranks") {
  const std::int64_t place = layers * 2 * (width + 1 + width);
  CHECK(trained<strategies::adalora>({{"rank", 2}, {"target_rank", 1}}) ==
        head_and({{"layer.*.attention.query.adalora", place},
                  {"layer.*.attention.value.adalora", place}}));
}

TEST_CASE("loreft trains a map and a projection behind every layer") {
  CHECK(trained<strategies::loreft>({{"rank", 2}}) ==
        head_and({{"layer.*.reft.first.source", layers * 2 * (width + 1)},
                  {"layer.*.reft.first.projection", layers * 2 * width}}));
}

TEST_CASE("prompt and p_tuning train virtual tokens") {
  const decoration_numbers two{{"tokens", 2}};
  CHECK(trained<strategies::prompt>(two) ==
        head_and({{"embeddings.word.prompt", 2 * width}}));
  CHECK(trained<strategies::p_tuning>({{"tokens", 2}, {"hidden", 5}}) ==
        head_and({{"embeddings.word.prompt", 2 * width},
                  {"embeddings.word.prompt.first", 5 * (width + 1)},
                  {"embeddings.word.prompt.second", 5 * 6},
                  {"embeddings.word.prompt.third", width * 6}}));
}

TEST_CASE("prefix trains keys and values, prefix_mlp what makes them") {
  CHECK(trained<strategies::prefix>({{"tokens", 2}}) ==
        head_and({{"layer.*.attention.memory.prefix", layers * 2 * 2 * width}}));
  CHECK(trained<strategies::prefix_mlp>({{"tokens", 2}, {"hidden", 5}}) ==
        head_and({{"prefix", 2 * width},
                  {"prefix.down", 5 * (width + 1)},
                  {"layer.*.attention.memory.prefix.up", layers * 2 * width * 6}}));
}

TEST_CASE("a number that no decoration of the tuning has is an error that lists those there are") {
  CHECK_THROWS_WITH(counted<strategies::lora_pfeiffer>({{"rnak", 2}}),
                    Catch::Contains("\"rnak\"; there are alpha, b_rate, dropout, inner, over_root, rank, scale, "
                                    "stochastic_depth, width"));
  CHECK_THROWS_WITH(counted<strategies::head>({{"rank", 2}}), Catch::Contains("there are none"));
  CHECK_THROWS_WITH(counted<strategies::lora_query_value>({{"rank", 0}}),
                    Catch::Contains("rank: expected a whole number of at least 1, found 0"));
}
