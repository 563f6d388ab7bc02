// SPDX-License-Identifier: MIT
// Attention over 16 sequences of 128 tokens, 12 heads, without and with dropout. items: tokens.
#include "support/counted.hpp"
#include "support/operands.hpp"

#include <cmath>

namespace {

using namespace graft_bench;

void attention(benchmark::State& state, bool backward, index_t width, float dropout) {
  const labelled_batch batch = random_batch(100);
  const auto q = random_matrix(tokens, width, 1), k = random_matrix(tokens, width, 2),
             v = random_matrix(tokens, width, 3), dy = random_matrix(tokens, width, 4);
  auto y = random_matrix(tokens, width), dq = random_matrix(tokens, width),
       dk = random_matrix(tokens, width), dv = random_matrix(tokens, width);
  const index_t heads = bert_base().heads;
  auto logs = random_matrix(tokens, heads);
  B::workspace memory;
  const float scale = 1 / std::sqrt(static_cast<float>(width / heads));
  const graft::attention_call<float> call{.queries = &batch.tokens.rows,
                                          .keys = &batch.tokens.rows,
                                          .heads = heads,
                                          .scale = scale,
                                          .dropout = dropout,
                                          .key = {}};
  using counting = counted<B>;
  counting::flops = 0;
  counting::attention(y, logs, q, k, v, call, memory);
  const auto run = [&] {
    if (backward)
      B::attention_backward(dq, dk, dv, dy, q, k, v, logs, call, memory);
    else
      B::attention(y, logs, q, k, v, call, memory);
  };
  time_flops(state, tokens, counting::flops * (backward ? 2 : 1), run);
}

[[maybe_unused]] const bool added = [] {
  for (const auto& config : {minilm(), bert_base()})
    for (const float dropout : {0.0f, 0.1f}) {
      const auto name = [&](const char* op) {
        return sized(op, config.width).append(dropout > 0 ? "/dropout" : "");
      };
      add(name("attention"), attention, false, config.width, dropout);
      add(name("attention_backward"), attention, true, config.width, dropout);
    }
  return true;
}();

}  // namespace
