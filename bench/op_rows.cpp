// SPDX-License-Identifier: MIT
// The operations that pass over memory: elementwise, norms, embedding, pooling, losses, optimizer
// steps. items: rows, or parameters for the last. GB/s counts every operand once.
#include "support/operands.hpp"

#include <string>
#include <vector>

namespace {

using namespace graft_bench;

// Operands of 2048 rows.
struct operands {
  index_t width;
  B::parameter y, x, dy, gain, bias, row, stats;
  labelled_batch batch = random_batch(1000);
  explicit operands(index_t columns)
      : width(columns),
        y(random_matrix(tokens, columns, 1)),
        x(random_matrix(tokens, columns, 2)),
        dy(random_matrix(tokens, columns, 3)),
        gain(random_matrix(1, columns, 4)),
        bias(random_matrix(1, columns, 5)),
        row(random_matrix(1, columns, 6)),
        stats(random_matrix(tokens, 2, 7)) {
    B::layer_norm(y, stats, x, gain, bias, 1e-12f);
  }
};

// `matrices`: how many operands of full size one call reads or writes.
template <class F>
void add_rows(const std::string& name, index_t width, index_t matrices, F f) {
  add(sized(name, width), [=](benchmark::State& state) {
    operands o(width);
    time_memory(state, tokens, matrices * tokens * width, [&] { f(o); });
  });
}

void add_elementwise(index_t width) {
  add_rows("copy", width, 2, [](operands& o) { B::copy(o.y, o.x); });
  add_rows("fill", width, 1, [](operands& o) { B::fill(o.y, 1); });
  add_rows("scale", width, 2, [](operands& o) { B::scale(o.y, 1); });
  add_rows("add", width, 3, [](operands& o) { B::add(o.y, o.x); });
  add_rows("add_scaled", width, 3, [](operands& o) { B::add_scaled(o.y, o.x, -1); });
  add_rows("sum_rows", width, 1, [](operands& o) { B::sum_rows(o.row, o.x); });
  add_rows("dropout", width, 2, [](operands& o) {
    B::dropout(o.y, o.x, 0.1f, {{1, 2}, 3}, o.batch.tokens.rows.names);
  });
  add_rows("softmax", width, 2, [](operands& o) { B::softmax(o.y, o.x); });
  add_rows("normalize_rows", width, 2, [](operands& o) { B::normalize_rows(o.y, o.x); });
  add_rows("squared_error", width, 3,
           [](operands& o) { benchmark::DoNotOptimize(B::squared_error(o.dy, o.y, o.x)); });
}

void add_norms(index_t width) {
  add_rows("layer_norm", width, 2,
           [](operands& o) { B::layer_norm(o.y, o.stats, o.x, o.gain, o.bias, 1e-12f); });
  add_rows("layer_norm_backward", width, 3,
           [](operands& o) { B::layer_norm_backward(o.y, o.dy, o.x, o.stats, o.gain); });
  add_rows("layer_norm_parameters", width, 2,
           [](operands& o) { B::layer_norm_parameters(o.gain, o.bias, o.dy, o.x, o.stats); });
}

void add_activations(index_t width) {
  using graft::activation;
  for (activation f : {activation::gelu, activation::gelu_tanh, activation::relu, activation::silu,
                       activation::tanh}) {
    const std::string function(graft::name_of(f));
    add_rows(std::string("activate/").append(function), width, 2,
             [f](operands& o) { B::activate(o.y, o.x, f); });
    add_rows(std::string("activate_backward/").append(function), width, 3,
             [f](operands& o) { B::activate_backward(o.y, o.dy, o.x, f); });
  }
}

void add_embedding(index_t width) {
  const auto with_table = [width](const char* name, auto f) {
    add(sized(name, width), [=](benchmark::State& state) {
      const labelled_batch batch = random_batch(bert_base().vocabulary);
      auto table = random_matrix(bert_base().vocabulary, width), y = random_matrix(tokens, width);
      time_memory(state, tokens, 2 * tokens * width, [&] { f(y, table, batch.tokens.ids); });
    });
  };
  with_table("gather", [](auto& y, auto& table, auto& ids) { B::gather(y, table, ids, false); });
  with_table("scatter_add", [](auto& y, auto& table, auto& ids) { B::scatter_add(table, y, ids); });
}

void add_pooling(index_t width) {
  using row_operation = void (*)(B::view, B::const_view, const graft::layout&);
  const auto with_pooled = [width](const char* name, row_operation f, bool to_rows) {
    add(sized(name, width), [=](benchmark::State& state) {
      const labelled_batch batch = random_batch(100);
      auto all = random_matrix(tokens, width), pooled = random_matrix(sequences, width);
      time_memory(state, sequences, tokens * width, [&] {
        to_rows ? f(all, pooled, batch.tokens.rows) : f(pooled, all, batch.tokens.rows);
      });
    });
  };
  with_pooled("pool_first", B::pool_first, false);
  with_pooled("pool_first_backward", B::pool_first_backward, true);
  with_pooled("pool_mean", B::pool_mean, false);
  with_pooled("pool_mean_backward", B::pool_mean_backward, true);
}

void cross_entropy(benchmark::State& state, index_t rows, index_t classes) {
  const auto y = random_matrix(rows, classes);
  auto dy = random_matrix(rows, classes);
  std::vector<std::int32_t> labels(static_cast<std::size_t>(rows), 1);
  time_memory(state, rows, 2 * rows * classes, [&] {
    benchmark::DoNotOptimize(
        B::cross_entropy(dy, y, {.labels = labels, .weights = {}, .smoothing = 0}));
  });
}

// A million parameters.
void add_updates() {
  constexpr index_t n = 1 << 20;
  add("squared_norm", [](benchmark::State& state) {
    const auto g = random_matrix(1, n);
    time_memory(state, n, n, [&] { benchmark::DoNotOptimize(B::squared_norm(g)); });
  });
  add("sgd_update", [](benchmark::State& state) {
    auto w = random_matrix(1, n), v = random_matrix(1, n);
    const auto g = random_matrix(1, n);
    time_memory(state, n, 5 * n, [&] {
      B::sgd_update(w, v, g,
                    {.rate = 1e-6f, .momentum = 0.9f, .decay = 0, .nesterov = false});
    });
  });
  add("adam_update", [](benchmark::State& state) {
    auto w = random_matrix(1, n), m = random_matrix(1, n);
    B::parameter v(1, n);
    const auto g = random_matrix(1, n);
    time_memory(state, n, 7 * n, [&] {
      B::adam_update(w, m, v, g, adam_step);
    });
  });
}

[[maybe_unused]] const bool added = [] {
  for (const auto& config : {minilm(), bert_base()}) {
    add_elementwise(config.width);
    add_norms(config.width);
    add_activations(config.inner);
    add_embedding(config.width);
    add_pooling(config.width);
  }
  add("cross_entropy/16x2", cross_entropy, sequences, index_t{2});
  add("cross_entropy/256x30522", cross_entropy, index_t{256}, bert_base().vocabulary);
  add_updates();
  return true;
}();

}  // namespace
