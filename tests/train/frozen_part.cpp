// SPDX-License-Identifier: MIT
// train/frozen_part.hpp and train/kept_rows.hpp, and what fit does with them.
#include <graft/backend/cpu.hpp>
#include <graft/io/snapshot.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/sentence_encoder.hpp>
#include <graft/model/task_classifier.hpp>
#include <graft/train/fit.hpp>
#include <graft/train/masked_language.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/frozen_values.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_bert.hpp"
#include "support/trained_values.hpp"

namespace graft_test::frozen_part_tests {

namespace {

using namespace graft;
using graft::index_t;

constexpr index_t words = 101;

// Counts words that are looked up, and key rows of attentions.
struct counting : cpu<double> {
  static inline index_t looked_up = 0, attended = 0;
  static void gather(view y, const_view table, std::span<const std::int32_t> ids, bool add) {
    looked_up += table.rows == words ? y.rows : 0;
    cpu<double>::gather(y, table, ids, add);
  }
  static void attention(view y, view logs, const_view q, const_view k, const_view v,
                        const attention_call<double>& call, workspace& w) {
    attended += k.rows;
    cpu<double>::attention(y, logs, q, k, v, call, w);
  }
};
using B = cpu<double>;

struct top1 {
  static constexpr recipe rules{on(at::layer, train{}, top(1)), on(at::head, train{})};
};
struct top2 {
  static constexpr recipe rules{on(at::layer, train{}, top(2)), on(at::pooler | at::head, train{})};
};
struct top_alone {
  static constexpr recipe rules{on(at::layer, train{}, top(1))};
};
struct head_only {
  static constexpr recipe rules{on(at::head, train{})};
};
struct norm_above {
  static constexpr recipe rules{on(at::encoder_norm | at::head, train{})};
};
struct top_lora {
  static constexpr recipe rules{
      on(at::query | at::value, lora{.rank = 2, .alpha = 4, .dropout = 0.1f}, top(1)),
      on(at::head, train{})};
};
struct lora_everywhere {
  static constexpr recipe rules{on(at::query, lora{.rank = 2}), on(at::head, train{})};
};

struct drawing : classification {
  static constexpr bool same_each_epoch = false;
};

bert_config without_dropout(bert_family family = bert_family::bert) {
  bert_config c = small_bert(family);
  c.positions = 9;
  c.vocabulary = words;
  c.hidden_dropout = c.attention_dropout = 0;  // the head's acts above
  return c;
}

template <class Model>
Model filled(Model model) {
  fill_frozen(model);
  return model;
}
template <class T, norm_order Order = norm_order::after, class Backend = B>
auto classifier(const bert_config& c) {
  return filled(bert_classifier<Backend, T, Order>(c, {"a", "b"}, 7));
}

example_list texts(std::size_t n, std::uint64_t seed = 1) {
  random_stream random(seed);
  example_list data;
  for (std::size_t i = 0; i < n; ++i) {
    example e;
    e.label = static_cast<std::int32_t>(random.below(2));
    e.ids = {1, 2 + e.label};
    for (std::uint64_t left = random.below(5); left > 0; --left)
      e.ids.push_back(static_cast<std::int32_t>(random.below(11)));
    for (std::size_t t = 0; t < e.ids.size(); ++t)
      e.labels.push_back(static_cast<std::int32_t>(random.below(2)));
    e.second = {4, static_cast<std::int32_t>(random.below(11)), 5};
    e.target = random.uniform();
    data.push_back(std::move(e));
  }
  return data;
}

index_t tokens_of(const example_list& data) {
  index_t n = 0;
  for (const example& e : data)
    n += static_cast<index_t>(e.ids.size());
  return n;
}

fit_options some_epochs() {
  fit_options o{.epochs = 4, .batch = 3, .method = adamw{.rate = 1e-2}};
  o.evaluation_batch = 5;
  o.seed = 11;
  return o;
}

struct outcome {
  std::vector<double> parameters, losses;
  fit_report report;
};
template <class Model>
outcome run(Model model, const example_list& train, const example_list& dev, const fit_options& o) {
  outcome r;
  r.report = fit(model, train, dev, o, [&](const fit_progress& p) {
    r.losses.push_back(p.dev ? p.dev->loss : static_cast<double>(p.loss));
  });
  r.parameters = trained_values(model);
  return r;
}

// But for rounding.
void check_alike(const outcome& a, const outcome& b) {
  REQUIRE(a.losses.size() == b.losses.size());
  for (std::size_t i = 0; i < a.losses.size(); ++i)
    CHECK(a.losses[i] == Approx(b.losses[i]).epsilon(1e-9));
  REQUIRE(a.parameters.size() == b.parameters.size());
  for (std::size_t i = 0; i < a.parameters.size(); ++i)
    CHECK(a.parameters[i] == Approx(b.parameters[i]).epsilon(1e-7).margin(1e-9));
  CHECK(a.report.best_epoch == b.report.best_epoch);
  CHECK(a.report.tokens == b.report.tokens);
}
void check_same(const outcome& a, const outcome& b) {
  CHECK(a.losses == b.losses);
  CHECK(a.parameters == b.parameters);
  CHECK(a.report.best_epoch == b.report.best_epoch);
}

// Kept or not, in memory or in a file, all or some: the same run.
template <class Make>
void check_kept(const Make& make, const example_list& train, const example_list& dev, index_t rows,
                bool bucketed) {
  fit_options o = some_epochs();
  o.bucketed = bucketed;
  o.keep_frozen = 0;
  const outcome expected = run(make(), train, dev, o);
  CHECK(expected.report.kept.train == keeping::not_asked);
  CHECK(expected.report.kept.bytes == 0);

  o.keep_frozen = fit_options{}.keep_frozen;
  const outcome kept = run(make(), train, dev, o);
  check_alike(kept, expected);
  CHECK(kept.report.kept.train == keeping::on);
  CHECK(kept.report.kept.dev == keeping::on);
  CHECK(kept.report.kept.examples == train.size() + dev.size());
  CHECK(kept.report.kept.bytes == static_cast<std::size_t>(rows) * 8 * sizeof(double));

  const scratch_folder folder;
  o.keep_frozen_in = folder.path.string();
  const outcome in_file = run(make(), train, dev, o);
  check_same(in_file, kept);
  CHECK(in_file.report.kept.bytes == kept.report.kept.bytes);
  CHECK(std::filesystem::is_empty(folder.path));
  o.keep_frozen_in.clear();

  o.keep_frozen = kept.report.kept.bytes / 2;
  const outcome half = run(make(), train, dev, o);
  check_alike(half, expected);
  CHECK(half.report.kept.bytes <= o.keep_frozen);
  CHECK(half.report.kept.bytes > o.keep_frozen / 4);
  CHECK(half.report.kept.examples > 0);
  CHECK(half.report.kept.examples < train.size() + dev.size());

  o.keep_frozen = 8;
  const outcome none = run(make(), train, dev, o);
  check_same(none, expected);
  CHECK(none.report.kept.train == keeping::no_room);
  CHECK(none.report.kept.dev == keeping::no_room);
}

}  // namespace

TEST_CASE("a training with kept rows of the frozen part is the one without") {
  const auto train = texts(20), dev = texts(9, 2);
  const index_t tokens = tokens_of(train) + tokens_of(dev);
  const auto sequences = static_cast<index_t>(train.size() + dev.size());
  const bool bucketed = GENERATE(true, false);
  SECTION("top layer") {
    check_kept([] { return classifier<top1>(without_dropout()); }, train, dev, tokens, bucketed);
  }
  SECTION("two layers and the pooler") {
    check_kept([] { return classifier<top2>(without_dropout()); }, train, dev, tokens, bucketed);
  }
  SECTION("low-rank updates above, with dropout of their own") {
    check_kept([] { return classifier<top_lora>(without_dropout()); }, train, dev, tokens, bucketed);
  }
  SECTION("the head, which is asked of sequences") {
    check_kept([] { return classifier<head_only>(without_dropout(bert_family::roberta)); }, train, dev,
               sequences, bucketed);
  }
  SECTION("the head, which is asked of tokens") {
    bert_config c = without_dropout();
    c.task = task_kind::token_classification;
    check_kept([&] { return classifier<head_only>(c); }, train, dev, tokens, bucketed);
  }
  SECTION("pre-LN layers") {
    const bert_config c = without_dropout(bert_family::roberta_prelayernorm);
    check_kept([&] { return classifier<top1, norm_order::before>(c); }, train, dev, tokens, bucketed);
    check_kept([&] { return classifier<norm_above, norm_order::before>(c); }, train, dev, tokens,
               bucketed);
    check_kept([&] { return classifier<head_only, norm_order::before>(c); }, train, dev, sequences,
               bucketed);
  }
  SECTION("several tasks") {
    auto of_tasks = [](example_list data) {
      for (std::size_t i = 0; i < data.size(); ++i)
        if (i % 3 == 0)
          data[i].task = 1, data[i].label += 2;
      return data;
    };
    check_kept(
        [] {
          return filled(task_classifier<B, top1>(without_dropout(),
                                                 {{"one", {"a", "b"}}, {"other", {"c", "d"}}}, 7));
        },
        of_tasks(train), of_tasks(dev), tokens, bucketed);
  }
  SECTION("a sentence encoder, whose examples have two texts") {
    check_kept([] { return filled(sentence_encoder<B, top_alone>(without_dropout(), 7)); }, train, dev,
               tokens + 3 * sequences, bucketed);
  }
}

TEST_CASE("the frozen part is computed once for each example") {
  const auto train = texts(20), dev = texts(9, 2);
  const index_t all = tokens_of(train) + tokens_of(dev);
  const auto work = [&](std::size_t budget, int epochs) {
    fit_options o = some_epochs();
    o.epochs = epochs;
    o.keep_frozen = budget;
    counting::looked_up = counting::attended = 0;
    run(classifier<top1, norm_order::after, counting>(without_dropout()), train, dev, o);
    return std::pair(counting::looked_up, counting::attended);
  };
  constexpr index_t layers = 3;
  CHECK(work(0, 4) == std::pair(4 * all, 4 * layers * all));
  // One more example is looked at for dropout.
  const auto first = static_cast<index_t>(train[0].ids.size());
  for (const int epochs : {2, 4})
    CHECK(work(1 << 20, epochs) ==
          std::pair(all + first, (layers - 1) * (all + first) + epochs * all));
}

TEST_CASE("nothing is kept where that would change the run, and it is said why") {
  const auto train = texts(20), dev = texts(9, 2);
  fit_options o = some_epochs();
  // … for the training examples; the run is then that without, bit for bit.
  const auto expect = [&](const auto& make, keeping why, keeping why_dev = keeping::on) {
    fit_options without = o;
    without.keep_frozen = 0;
    const outcome with = run(make(), train, dev, o);
    check_same(with, run(make(), train, dev, without));
    CHECK(with.report.kept.train == why);
    CHECK(with.report.kept.dev == why_dev);
    CHECK(with.report.kept.examples == (why_dev == keeping::on ? dev.size() : 0));
  };
  const auto with_rates = [](double hidden, double attention) {
    bert_config c = without_dropout();
    c.hidden_dropout = hidden;
    c.attention_dropout = attention;
    return [c] { return classifier<top1>(c); };
  };
  expect(with_rates(0.1, 0), keeping::dropout);
  expect(with_rates(0, 0.1), keeping::dropout);
  expect([] { return classifier<lora_everywhere>(without_dropout()); }, keeping::nothing_frozen,
         keeping::nothing_frozen);
  o.augment = [](std::uint32_t i, int epoch, example& e) {
    e.ids.push_back(static_cast<std::int32_t>((i + static_cast<unsigned>(epoch)) % 11));
  };
  expect(with_rates(0, 0), keeping::augmented);
  o.augment = {};
  o.epochs = 1;
  expect(with_rates(0, 0), keeping::one_epoch, keeping::one_epoch);
}

TEST_CASE("an objective that may change examples keeps those of the training from being kept") {
  static_assert(detail::same_each_epoch<classification> && detail::same_each_epoch<task_objective>);
  static_assert(!detail::same_each_epoch<masked_language>);
  const auto train = texts(6);
  auto model = classifier<top1>(without_dropout());
  const fit_report report = fit(model, train, train, some_epochs(), drawing{{2, {}}});
  CHECK(report.kept.train == keeping::by_chance);
  CHECK(report.kept.dev == keeping::on);
}

TEST_CASE("a context tells whether a mask was drawn") {
  const auto c = without_dropout();
  auto model = classifier<top1>(c);
  B::workspace memory;
  const token_batch batch = small_batch(c);
  const auto draws = [&](bool training) {
    cache_t<decltype(model.network), inference_demand> none;
    bool drawn = false;
    context<B> k{memory, batch.rows, training};
    k.draws = &drawn;
    model.network.forward_below<inference_demand>(batch, none, k);
    return drawn;
  };
  CHECK_FALSE(draws(true));
  auto& lowest = std::get<0>(model.network.bert.layers.blocks)[1];
  for (double* rate : {&model.network.bert.embeddings.drop.rate, &lowest.attention.drop.rate,
                       &lowest.attention.probability_dropout, &lowest.feed_forward.drop.rate}) {
    *rate = 0.1;
    CHECK(draws(true));
    CHECK_FALSE(draws(false));
    *rate = 0;
  }
}

TEST_CASE("a training with kept rows goes on from a snapshot, bit for bit") {
  const auto train = texts(20), dev = texts(9, 2);
  fit_options o = some_epochs();
  o.keep_frozen = GENERATE(std::size_t{1} << 20, std::size_t{3000});
  o.bucketed = GENERATE(true, false);
  const auto make = [] { return classifier<top1>(without_dropout()); };
  const outcome expected = run(make(), train, dev, o);
  using model_type = decltype(make());
  const scratch_folder folder;
  const std::filesystem::path file = folder / "step-1.safetensors";
  std::size_t done = 0;
  for (bool over = false; !over; ++done) {
    INFO("stopped after " << done << " advances");
    {
      auto model = make();
      training<model_type> first(model, train, dev, o);
      for (std::size_t i = 0; i < done; ++i)
        first.advance();
      over = first.over();
      save_snapshot(first, file);
    }
    auto model = make();
    training<model_type> second(model, train, dev, o);
    load_snapshot(second, file);
    while (!second.over())
      second.advance();
    const fit_report report = second.finish();
    CHECK(trained_values(model) == expected.parameters);
    CHECK(report.epochs.back().dev.loss == expected.report.epochs.back().dev.loss);
    CHECK(report.epochs.back().train_loss == expected.report.epochs.back().train_loss);
  }
  CHECK(done > 20);
}

TEST_CASE("a folder that cannot hold a file for kept rows is an error") {
  const auto train = texts(20);
  fit_options o = some_epochs();
  o.keep_frozen_in = "/no such folder";
  CHECK_THROWS_WITH(run(classifier<top1>(without_dropout()), train, {}, o),
                    Catch::Matchers::Contains("/no such folder"));
}

}  // namespace graft_test::frozen_part_tests
