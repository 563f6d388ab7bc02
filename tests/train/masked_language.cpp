// SPDX-License-Identifier: MIT
#include <graft/train/masked_language.hpp>

#include <graft/backend/cpu.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/strategies.hpp>

#include "support/catch.hpp"
#include "support/count_to.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using namespace graft;
using graft_test::count_to;

namespace {

using backend = cpu<float>;
using model_type = masked_language_model<backend, strategies::full>;

constexpr std::int32_t begin_id = 2, end_id = 3, mask_id = 4, words = 12, vocabulary = 5 + words;
const masking how{.mask_id = mask_id, .vocabulary = vocabulary, .special = {0, 1, 2, 3, 4}};

// Texts that begin with some word and count on by `stride`, modulo the number of words.
example_list counting_texts(std::size_t count, std::size_t length, std::uint64_t seed,
                            std::size_t stride = 1) {
  random_stream random(seed);
  example_list texts(count);
  for (example& text : texts) {
    const auto start = random.below(words);
    text.ids.push_back(begin_id);
    for (std::size_t i = 0; i < length; ++i)
      text.ids.push_back(5 + static_cast<std::int32_t>((start + i * stride) % words));
    text.ids.push_back(end_id);
  }
  return texts;
}

bert_config small_config() {
  bert_config c;
  c.vocabulary = vocabulary;
  c.positions = 16;
  c.width = 16;
  c.layers = 1;
  c.heads = 2;
  c.inner = 32;
  c.hidden_dropout = c.attention_dropout = 0;
  return c;
}

struct packed {
  masked_batch batch;
  std::vector<std::int32_t> truth;
};

packed pack_all(const example_list& texts, const std::vector<std::uint32_t>& chosen,
                int epoch = 1, const masking& m = how) {
  packed p;
  truth t;
  for (const std::uint32_t i : chosen)
    masked_language{m}.add(texts[i], {.number = i, .seed = 7, .epoch = epoch}, 0, p.batch, t);
  p.truth = t.labels;
  return p;
}

}  // namespace

TEST_CASE("the tokens asked for are 15 % of every text and no special ones") {
  const auto texts = counting_texts(50, 20, 1);
  const packed p = pack_all(texts, count_to(50));
  REQUIRE(p.batch.places.size() == 50 * 3);
  REQUIRE(p.truth.size() == p.batch.places.size());
  CHECK(std::is_sorted(p.batch.places.begin(), p.batch.places.end()));
  for (std::size_t i = 0; i < p.truth.size(); ++i) {
    const auto row = static_cast<std::size_t>(p.batch.places[i]);
    CHECK(p.truth[i] == texts[row / 22].ids[row % 22]);
    CHECK_FALSE(how.is_special(p.truth[i]));
  }
}

TEST_CASE("what is not asked for stays as it is") {
  const auto texts = counting_texts(50, 20, 1);
  const packed p = pack_all(texts, count_to(50));
  for (std::size_t row = 0; row < p.batch.ids.size(); ++row)
    if (!std::binary_search(p.batch.places.begin(), p.batch.places.end(),
                            static_cast<std::int32_t>(row)))
      CHECK(p.batch.ids[row] == texts[row / 22].ids[row % 22]);
}

TEST_CASE("of the tokens asked for 80 % are masked, 10 % are others and 10 % stay") {
  const auto texts = counting_texts(2000, 20, 1);
  const packed p = pack_all(texts, count_to(2000));
  double masked = 0, other = 0, same = 0;
  for (std::size_t i = 0; i < p.truth.size(); ++i) {
    const auto id = p.batch.ids[static_cast<std::size_t>(p.batch.places[i])];
    (id == mask_id ? masked : id == p.truth[i] ? same : other) += 1;
    if (id != mask_id)
      CHECK_FALSE(how.is_special(id));
  }
  const double all = static_cast<double>(p.truth.size());
  const double by_chance = 0.1 / words;  // a random token may be the one that stood there
  CHECK(masked / all == Approx(0.8).margin(0.02));
  CHECK(other / all == Approx(0.1 - by_chance).margin(0.015));
  CHECK(same / all == Approx(0.1 + by_chance).margin(0.015));
}

TEST_CASE("what is hidden in a text depends on seed, epoch and number alone") {
  const auto texts = counting_texts(10, 20, 1);
  const packed all = pack_all(texts, count_to(10)), alone = pack_all(texts, {6});
  const auto first = all.batch.ids.begin() + 6 * 22;
  CHECK(std::equal(first, first + 22, alone.batch.ids.begin()));
  CHECK(pack_all(texts, {6}, 2).batch.places != alone.batch.places);
}

TEST_CASE("a short text is asked for one token, a text of special ones for none") {
  example_list texts(2);
  texts[0].ids = {begin_id, 7, end_id};
  texts[1].ids = {begin_id, end_id};
  const packed p = pack_all(texts, {0, 1});
  CHECK(p.batch.places == std::vector<std::int32_t>{1});
  CHECK(p.truth == std::vector<std::int32_t>{7});
}

TEST_CASE("a vocabulary of special tokens alone is refused") {
  masking none = how;
  none.vocabulary = 5;
  CHECK_THROWS_WITH(masked_language{none}.check(counting_texts(1, 3, 1)),
                    "graft: masking: expected a vocabulary of more than the 5 special tokens, "
                    "found 5");
}

TEST_CASE("a masked language model learns from the tokens around a place") {
  const auto texts = counting_texts(200, 8, 1, 0);  // one word again and again
  model_type model(small_config(), 3);
  std::int64_t seen = 0;
  const auto dev = counting_texts(40, 8, 2, 0);
  const fit_options options{.epochs = 20, .batch = 20, .method = adamw{.rate = 1e-2}, .seed = 5};
  const auto report =
      fit(model, texts, dev, options, masked_language{how}, [&](const fit_progress& p) {
        seen += p.dev ? 0 : 1;
        CHECK(p.step == seen);
        CHECK(p.steps == 200);
      });
  CHECK(seen == 200);
  CHECK(report.steps == 200);
  CHECK(report.tokens == 20 * 200 * 10);
  REQUIRE(report.epochs.size() == 20);
  CHECK(report.epochs.front().train_loss > 2);
  CHECK(report.epochs.back().train_loss < 0.5);
  CHECK(report.best()->score("accuracy") > 0.9);
  CHECK(report.best()->loss < 0.5);
  CHECK(evaluate(model, dev, 7, masked_language{how}).loss ==
        Approx(report.best()->loss).epsilon(1e-5));  // the same places, whatever the batches
}

TEST_CASE("equal seeds train equal masked language models") {
  const auto texts = counting_texts(40, 8, 1);
  const auto trained = [&](std::uint64_t seed) {
    model_type model(small_config(), 3);
    fit(model, texts, {}, {.epochs = 2, .batch = 8, .seed = seed}, masked_language{how});
    const float* v = model.parameters.values.data;
    return std::vector<float>(v, v + model.parameters.size());
  };
  const auto once = trained(5);
  CHECK(once == trained(5));
  CHECK(once != trained(6));
}

TEST_CASE("without epochs a masked language model stays as it was") {
  model_type model(small_config(), 3);
  const model_type fresh(small_config(), 3);
  const auto report = fit(model, counting_texts(4, 8, 1), {}, {.epochs = 0}, masked_language{how});
  CHECK(report.epochs.empty());
  CHECK(std::equal(model.parameters.values.data,
                   model.parameters.values.data + model.parameters.size(),
                   fresh.parameters.values.data));
}

TEST_CASE("masked language training refuses texts it can do nothing with") {
  model_type model(small_config(), 3);
  example_list empty(1);
  empty[0].ids = {begin_id, end_id};
  CHECK_THROWS_WITH(fit(model, empty, {}, {}, masked_language{how}),
                    "graft: masked_language: expected texts with tokens, found none");
  CHECK_THROWS_AS(fit(model, example_list{}, {}, {}, masked_language{how}), input_error);
}

TEST_CASE("masked language training stops at a loss that is no number") {
  model_type model(small_config(), 3);
  model.network.bert.embeddings.word.weight.data[5 * 16] = std::numeric_limits<float>::quiet_NaN();
  CHECK_THROWS_AS(fit(model, counting_texts(40, 8, 1), {}, {}, masked_language{how}),
                  divergence_error);
}
