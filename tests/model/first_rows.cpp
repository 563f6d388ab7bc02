// SPDX-License-Identifier: MIT
// core/first_rows.hpp, tuning/row_by_row.hpp, and the models that ask for first rows alone.
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/tuning/adapter_drop.hpp>
#include <graft/tuning/composition.hpp>
#include <graft/tuning/lora_bank.hpp>
#include <graft/tuning/recompute.hpp>
#include <graft/tuning/strategies.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "support/catch.hpp"
#include "support/emulated_device.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::first_rows_tests {

namespace {

using exact = cpu<double>;

// Counts multiplications in products.
struct counting : exact {
  static inline double multiplied = 0;
  static void count(double n) { multiplied += n; }
  static void product_nt(view y, const_view x, const_view w, scalar s, bool add) {
    count(static_cast<double>(y.size() * x.cols));
    exact::product_nt(y, x, w, s, add);
  }
  static void product_nn(view y, const_view x, const_view w, scalar s, bool add) {
    count(static_cast<double>(y.size() * x.cols));
    exact::product_nn(y, x, w, s, add);
  }
  static void product_tn(view y, const_view x, const_view w, scalar s, bool add) {
    count(static_cast<double>(y.size() * x.rows));
    exact::product_tn(y, x, w, s, add);
  }
  static void linear(view y, const_view x, const_view w, const_view b) {
    count(static_cast<double>(y.size() * x.cols));
    exact::linear(y, x, w, b);
  }
  static void linear_activated(view y, view z, const_view x, const_view w, const_view b, activation f) {
    count(static_cast<double>(z.size() * x.cols));
    exact::linear_activated(y, z, x, w, b, f);
  }
};

struct dropping_lora {
  static constexpr recipe rules{on(at::linear, lora{.rank = 2, .dropout = 0.2f}),
                                on(at::pooler | at::head, train{})};
};
struct dropped_paths {
  static constexpr recipe rules{
      on(at::attention | at::feed_forward,
         bottleneck{.width = 3, .dropout = 0.1f, .scaling = adapter_scaling::learned,
                    .stochastic_depth = 0.4f}),
      on(at::head, train{})};
};
struct around_layers {
  static constexpr recipe rules{on(at::layer, bottleneck{.width = 3, .place = placement::skip}),
                                on(at::head, train{})};
};
struct fused {
  static constexpr recipe rules{
      on(at::feed_forward, compose::fuse{.adapters = 2, .each = {.width = 3}}), on(at::head, train{})};
};
struct by_task {
  static constexpr recipe rules{
      on(at::feed_forward, compose::by_task{.adapters = 2, .each = {.width = 3}}), on(at::head, train{})};
};
struct memories {
  static constexpr recipe rules{on(at::memory, prefix{.tokens = 2, .gate = prefix_gate::one}),
                                on(at::key | at::value, lora{.rank = 2, .gating = true}),
                                on(at::head, train{})};
};
struct prompted {
  static constexpr recipe rules{on(at::word, prompt{.tokens = 2}), on(at::query, lora{.rank = 2}),
                                on(at::head, train{})};
};
struct computed_again {
  static constexpr recipe rules{on(at::query, lora{.rank = 2}), on(at::layer, recompute{}),
                                on(at::head, train{})};
};

// What looks at the other rows of a sequence.
struct gated_adapter {
  static constexpr recipe rules{on(at::feed_forward, bottleneck{.width = 3, .gating = true}),
                                on(at::head, train{})};
};
struct gated_lora {
  static constexpr recipe rules{on(at::query, lora{.rank = 2, .gating = true}), on(at::head, train{})};
};
struct gated_output {
  static constexpr recipe rules{on(at::feed_forward_output, lora{.rank = 2, .gating = true}),
                                on(at::head, train{})};
};
struct split_tokens {
  static constexpr recipe rules{
      on(at::feed_forward, compose::split{.adapters = 2, .each = {.width = 3}}), on(at::head, train{})};
};
struct edited {
  static constexpr recipe rules{on(at::layer, reft{.rank = 2, .prefix = 2, .suffix = 1}),
                                on(at::head, train{})};
};
struct beside_attention {
  static constexpr recipe rules{
      on(at::attention, bottleneck{.width = 3, .place = placement::parallel}), on(at::head, train{})};
};
struct banked {
  static constexpr recipe rules{on(at::linear, lora_bank{}), on(at::head, train{})};
};
// A gate on the lowest layer is no business of the last one.
struct gated_below {
  static constexpr recipe rules{on(at::feed_forward, bottleneck{.width = 3, .gating = true}, bottom(1)),
                                on(at::query, lora{.rank = 2}), on(at::head, train{})};
};

struct query_value {
  static constexpr recipe rules{on(at::query | at::value, lora{.rank = 2}), on(at::head, train{})};
};
struct lowest_three {
  static constexpr recipe rules{on(at::query, lora{.rank = 2}, bottom(3)), on(at::head, train{})};
};

template <class T, norm_order Order = norm_order::after>
using last_block = typename std::conditional_t<
    Order == norm_order::after, stack<exact, scope<T>, transformer_layer>,
    stack<exact, scope<T>, pre_norm_layer>>::template block<detail::run_count<T> - 1>;

// What a network says of a batch and, for slopes of its outputs, the gradients of what is trained.
struct said {
  std::vector<double> y, gradients;
};

// The slope of output i; sequences without rows have none.
template <class B>
typename B::tensor slopes_of(const typename B::tensor& y, const layout& rows, const context<B>& k) {
  const auto values = B::on_host(y);
  std::vector<typename B::scalar> slopes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto s = static_cast<index_t>(i) / y.cols;
    const auto m = static_cast<typename B::scalar>(std::sin(1.0 + double(i)));
    slopes.push_back(rows.length(s) > 0 ? values[i] + m : typename B::scalar(0));
  }
  auto dy = k.make(y.rows, y.cols);
  B::from_host(dy, std::span<const typename B::scalar>(slopes));
  return dy;
}

// By itself …
template <class N>
struct asked_for_first_rows {
  using B = typename N::backend_type;
  cache_t<N, training_demand> kept;
  auto forward(const N& n, const token_batch& batch, const context<B>& k) {
    return n.template forward<training_demand>(batch, kept, k);
  }
  template <class G>
  void backward(const N& n, typename B::tensor dy, G* g, const token_batch&, const context<B>& k) {
    n.template backward<training_demand>(std::move(dy), kept, g, k);
  }
};

// … and with an encoder that makes all rows.
template <class N>
struct asked_for_all_rows {
  using B = typename N::backend_type;
  static constexpr demand D = training_demand, P = N::template of_pooler<D>, H = N::template of_head<D>;
  cache_t<typename N::bert_type, D> of_bert;
  cache_t<typename N::pooler_type, P> of_pooler;
  cache_t<typename N::head_type, H> of_head;
  layout pooled;

  auto forward(const N& n, const token_batch& batch, const context<B>& k) {
    const auto h = n.bert.template forward<D>(batch, of_bert, k);
    const layout& rows = rows_after(n.bert, of_bert, batch.rows);
    pooled_layout(rows, pooled);
    const auto sequences = k.with(pooled);
    auto first = k.make(rows.sequences(), h.cols);
    B::pool_first(first, h, rows);
    const auto p = n.pooler.template forward<P>(first, of_pooler, sequences);
    return n.head.template forward<H>(p, of_head, sequences);
  }
  template <class G>
  void backward(const N& n, typename B::tensor dy, G* g, const token_batch& batch, const context<B>& k) {
    using mirror = typename N::mirror;
    const auto sequences = k.with(pooled);
    auto dp = n.head.template backward<H>(std::move(dy), of_head, part<D>(g, &mirror::head), sequences);
    if constexpr (H.input) {
      auto df = n.pooler.template backward<P>(std::move(dp), of_pooler, part<D>(g, &mirror::pooler),
                                              sequences);
      if constexpr (P.input) {
        const layout& rows = rows_after(n.bert, of_bert, batch.rows);
        auto dh = k.make(rows.rows(), df.cols);
        B::pool_first_backward(dh, df, rows);
        n.bert.template backward<D>(std::move(dh), of_bert, part<D>(g, &mirror::bert), k);
      }
    }
  }
};

template <template <class> class Asked, class Model>
said run(Model&& m, const token_batch& batch, bool training) {
  using N = typename std::remove_cvref_t<Model>::network_type;
  using B = typename N::backend_type;
  typename B::workspace memory;
  const context<B> k{memory, batch.rows, training, 9, 4};
  Asked<N> asked;
  const auto numbers = [](const auto& x) {
    const auto read = B::on_host(x);
    return std::vector<double>(read.begin(), read.end());
  };
  said found;
  auto g = make_gradient(m.network, m.parameters);
  const auto y = asked.forward(m.network, batch, k);
  found.y = numbers(y);
  asked.backward(m.network, slopes_of<B>(y, batch.rows, k), &g.gradient, batch, k);
  found.gradients = numbers(g.values);
  return found;
}

token_batch batch_of(std::initializer_list<index_t> lengths) {
  token_batch batch;
  std::uint32_t example = 3, task = 0;
  for (const index_t length : lengths) {
    std::vector<std::int32_t> ids;
    for (index_t i = 0; i < length; ++i)
      ids.push_back(static_cast<std::int32_t>((5 * i + 3 * example) % 11));
    batch.append(ids, {}, example++, 0, task++ % 2);
  }
  return batch;
}

template <class T, class B = exact, norm_order Order = norm_order::after>
bert_classifier<B, T, Order> fresh() {
  bert_classifier<B, T, Order> m(
      small_bert(Order == norm_order::after ? bert_family::bert : bert_family::roberta_prelayernorm),
      {"no", "yes", "maybe"}, 7);
  randomize(m.network, 5, 0.3);
  return m;
}

// Equal but for the order of sums.
void check_equal(const said& found, const said& expected, double tolerance) {
  CHECK(relative_error(found.y, expected.y) < tolerance);
  CHECK(relative_error(found.gradients, expected.gradients) < tolerance);
}

template <class T, class B = exact, norm_order Order = norm_order::after>
void check_one() {
  auto m = fresh<T, B, Order>();
  for (const bool training : {false, true}) {
    const token_batch batch = batch_of({1, 4, 3});
    const said found = run<asked_for_first_rows>(m, batch, training);
    check_equal(found, run<asked_for_all_rows>(m, batch, training), 1e-11);
    CHECK(largest(found.gradients) > 0.01);
    host_workspace memory;
    if (!training)
      CHECK(relative_error(values_of<double>(m.predict(batch, {memory, batch.rows})), found.y) < 1e-12);
  }
}

template <class T>
void check_everywhere() {
  check_one<T>();
  check_one<T, reference<double>>();
  check_one<T, exact, norm_order::before>();
}

// How many multiplications a step of sequences of 1, 4 and 3 rows does without.
template <class T>
double saved() {
  auto m = fresh<T, counting>();
  const token_batch batch = batch_of({1, 4, 3});
  const auto count = [&](const auto& f) {
    counting::multiplied = 0;
    f();
    return counting::multiplied;
  };
  return count([&] { run<asked_for_all_rows>(m, batch, true); }) -
         count([&] { run<asked_for_first_rows>(m, batch, true); });
}

}  // namespace

TEST_CASE("layers give their first rows alone where nothing in them looks at the others") {
  STATIC_REQUIRE(gives_first_rows<last_block<untuned>>);
  STATIC_REQUIRE(gives_first_rows<last_block<untuned, norm_order::before>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::full>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::bitfit>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::top2>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::lora_all_linear>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::qlora>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::dora>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::adalora>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::vera>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::ia3, norm_order::before>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::houlsby>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::houlsby, norm_order::before>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::pfeiffer>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::parallel>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::compacter>>);
  STATIC_REQUIRE(gives_first_rows<last_block<strategies::prefix>>);
  STATIC_REQUIRE(gives_first_rows<last_block<fused>>);
  STATIC_REQUIRE(gives_first_rows<last_block<by_task>>);
  STATIC_REQUIRE(gives_first_rows<last_block<memories>>);
  STATIC_REQUIRE(gives_first_rows<last_block<around_layers>>);
  STATIC_REQUIRE(gives_first_rows<last_block<computed_again>>);
  STATIC_REQUIRE(gives_first_rows<last_block<gated_below>>);

  STATIC_REQUIRE(!gives_first_rows<last_block<gated_adapter>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<gated_lora>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<gated_output>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<split_tokens>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<edited>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<beside_attention>>);
  STATIC_REQUIRE(!gives_first_rows<last_block<banked>>);
}

TEST_CASE("a classifier of first rows alone is that of all rows, dropout and all") {
  SECTION("trained whole") { check_everywhere<strategies::full>(); }
  SECTION("its head") { check_one<strategies::head>(); }
  SECTION("its top") { check_one<strategies::top2>(); }
  SECTION("its biases") { check_one<strategies::bitfit>(); }
  SECTION("LoRA") { check_everywhere<dropping_lora>(); }
  SECTION("IA3") { check_one<strategies::ia3>(); }
  SECTION("Houlsby") { check_one<strategies::houlsby>(); }
  SECTION("Pfeiffer") { check_one<strategies::pfeiffer>(); }
  SECTION("beside the feed-forward") { check_one<strategies::parallel>(); }
  SECTION("stochastic depth") { check_one<dropped_paths>(); }
  SECTION("adapters behind layers") { check_one<around_layers>(); }
  SECTION("activations computed again") { check_one<computed_again>(); }
  SECTION("fused adapters") { check_one<fused>(); }
  SECTION("adapters by task") { check_one<by_task>(); }
  SECTION("gates of keys, values and prefixes") { check_one<memories>(); }
  SECTION("a prompt") { check_one<prompted>(); }
  SECTION("a gate below") { check_one<gated_below>(); }
}

TEST_CASE("so is one whose last layer needs all rows") {
  check_one<gated_adapter>();
  check_one<gated_lora>();
  check_one<gated_output>();
  check_one<split_tokens>();
  check_one<edited>();
  check_one<beside_attention>();
}

TEST_CASE("a dropped adapter leaves first rows as they are") {
  auto m = fresh<strategies::houlsby>();
  drop_adapters(m, 3);
  const token_batch batch = batch_of({2, 3});
  check_equal(run<asked_for_first_rows>(m, batch, true), run<asked_for_all_rows>(m, batch, true), 1e-11);
}

TEST_CASE("a stack whose topmost run is empty makes all rows and hands on the first") {
  auto m = fresh<lowest_three>();
  const token_batch batch = batch_of({2, 3});
  REQUIRE(m.config.layers == 3);
  check_equal(run<asked_for_first_rows>(m, batch, true), run<asked_for_all_rows>(m, batch, true), 1e-11);
}

TEST_CASE("first rows alone are less work") {
  constexpr double w = 8, inner = 12, rank = 2, spared = 8 - 3;
  // Query and output of attention, and the feed-forward's maps.
  constexpr double maps = spared * (2 * w * w + 2 * w * inner);
  CHECK(saved<strategies::head>() == maps);
  CHECK(saved<query_value>() == 2 * maps + 6 * spared * rank * w);
  CHECK(saved<strategies::full>() == 3 * maps);
  CHECK(saved<strategies::top2>() == 3 * maps);
  CHECK(saved<gated_adapter>() == 0);
  CHECK(saved<lowest_three>() == 0);

  // Of a prediction.
  auto m = fresh<strategies::full, counting>();
  const token_batch batch = batch_of({1, 4, 3});
  host_workspace memory;
  counting::multiplied = 0;
  m.predict(batch, {memory, batch.rows});
  CHECK(counting::multiplied == 3 * 8 * (4 * w * w + 2 * w * inner) - maps + 3 * w * (w + 3));
}

TEST_CASE("a sequence without rows leaves those of the others and their gradients as they are") {
  const auto check = [](auto&& m, double tolerance) {
    for (const bool training : {false, true}) {
      const said found = run<asked_for_first_rows>(m, batch_of({2, 0, 3, 0}), training);
      const said expected = run<asked_for_all_rows>(m, batch_of({2, 0, 3, 0}), training);
      const auto rows_of = [](const said& s) {  // of what is there
        return std::vector<double>{s.y[0], s.y[1], s.y[2], s.y[6], s.y[7], s.y[8]};
      };
      CHECK(relative_error(rows_of(found), rows_of(expected)) < tolerance);
      CHECK(relative_error(found.gradients, expected.gradients) < tolerance);
    }
  };
  check(fresh<strategies::full>(), 1e-11);
  check(fresh<strategies::full, reference<double>>(), 1e-11);
  check(fresh<strategies::full, exact, norm_order::before>(), 1e-11);
  check(fresh<strategies::full>().to<emulated<float>>(), 1e-4);
  check(fresh<strategies::full>().to<emulated<bf16>>(), 2e-1);
}

TEST_CASE("first rows alone are the same on a GPU") {
  const token_batch batch = batch_of({1, 4, 3});
  const auto check = [&](auto&& m) {
    for (const bool training : {false, true})
      check_equal(run<asked_for_first_rows>(m.template to<emulated<float>>(), batch, training),
                  run<asked_for_all_rows>(m, batch, training), 1e-4);
  };
  check(fresh<strategies::full>());
  check(fresh<dropping_lora>());
  check(fresh<strategies::houlsby>());
}

TEST_CASE("a pooled row has the name of its sequence's first") {
  layout rows = sequences({2, 0, 1});
  rows.names[0] = {9, 4};
  layout pooled;
  pooled_layout(rows, pooled);
  CHECK(pooled.offsets == std::vector<index_t>{0, 1, 2, 3});
  CHECK(pooled.names[0].example == 9);
  CHECK(pooled.names[0].token == 4);
  CHECK(pooled.names[1].example == 0);
  CHECK(pooled.names[2].example == 7);
}

}  // namespace graft_test::first_rows_tests
