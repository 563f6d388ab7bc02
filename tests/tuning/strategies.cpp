// SPDX-License-Identifier: MIT
// tuning/strategies.hpp: what each of them trains, in a BERT with 3 layers of width 8. What they
// compute is in train/parity_*.cpp.
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

TEST_CASE("a number that no decoration of the tuning has is an error that lists those there are") {
  CHECK_THROWS_WITH(counted<strategies::lora_pfeiffer>({{"rnak", 2}}),
                    Catch::Contains("\"rnak\"; there are alpha, dropout, inner, rank, scale, width"));
  CHECK_THROWS_WITH(counted<strategies::head>({{"rank", 2}}), Catch::Contains("there are none"));
  CHECK_THROWS_WITH(counted<strategies::lora_query_value>({{"rank", 0}}),
                    Catch::Contains("rank: expected a whole number of at least 1, found 0"));
}
