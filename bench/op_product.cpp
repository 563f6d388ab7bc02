// SPDX-License-Identifier: MIT
// The matrix products over 2048 rows at the sizes of MiniLM's and BERT-base's linear layers, LoRA
// and bottlenecks. items: rows.
#include "support/operands.hpp"

namespace {

using namespace graft_bench;

enum class form { linear, nt, nn, tn };

// y = x wᵀ with w [out, in], and its two gradients.
void product(benchmark::State& state, form f, index_t in, index_t out) {
  const auto x = random_matrix(tokens, in), w = random_matrix(out, in), b = random_matrix(1, out);
  const auto dy = random_matrix(tokens, out);
  auto y = random_matrix(tokens, out), dx = random_matrix(tokens, in), dw = random_matrix(out, in);
  const double flops = 2.0 * static_cast<double>(tokens * in * out);
  time_flops(state, tokens, flops, [&] {
    switch (f) {
      case form::linear:
        return B::linear(y, x, w, b);
      case form::nt:
        return B::product_nt(y, x, w, 1, false);
      case form::nn:
        return B::product_nn(dx, dy, w, 1, false);
      case form::tn:
        return B::product_tn(dw, dy, x, 1, false);
    }
  });
}

[[maybe_unused]] const bool added = [] {
  const auto add_forms = [](index_t in, index_t out) {
    const auto name = [&](const char* op) { return sized(sized(op, in), out); };
    add(name("linear"), product, form::linear, in, out);
    add(name("product_nt"), product, form::nt, in, out);
    add(name("product_nn"), product, form::nn, in, out);
    add(name("product_tn"), product, form::tn, in, out);
  };
  for (const auto& config : {minilm(), bert_base()}) {
    add_forms(config.width, config.width);
    add_forms(config.width, config.inner);
    add_forms(config.inner, config.width);
    for (index_t narrow : {index_t{8}, index_t{48}}) {
      add_forms(config.width, narrow);
      add_forms(narrow, config.width);
    }
  }
  return true;
}();

}  // namespace
