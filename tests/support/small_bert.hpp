// SPDX-License-Identifier: MIT
// A BERT small enough for finite differences, and a batch for it.
#pragma once

#include <graft/model/bert.hpp>
#include <graft/model/tokens.hpp>

#include <cstdint>
#include <vector>

namespace graft_test {

// Dropout everywhere; it acts only while training.
inline graft::bert_config small_bert(graft::bert_family family = graft::bert_family::bert,
                                     graft::index_t layers = 3) {
  graft::bert_config c;
  c.width = 8;
  c.layers = layers;
  c.heads = 2;
  c.inner = 12;
  c.epsilon = 1e-5;
  c.hidden_dropout = 0.1;
  c.attention_dropout = 0.2;
  c.head_dropout = 0.2;
  c.family = family;
  c.vocabulary = 11;
  c.positions = 7;
  c.token_types = family == graft::bert_family::distilbert ? 0 : 2;
  c.first_position = family == graft::bert_family::roberta ? 2 : 0;
  return c;
}

// Sequences of 1, 4 and 3 tokens.
inline graft::token_batch small_batch(const graft::bert_config& c = small_bert()) {
  using numbers = std::vector<std::int32_t>;
  graft::token_batch batch;
  batch.append(numbers{7}, {}, 3, c.first_position);
  batch.append(numbers{1, 10, 0, 7}, numbers{0, 0, 1, 1}, 4, c.first_position);
  batch.append(numbers{2, 2, 5}, {}, 8, c.first_position);
  return batch;
}

}  // namespace graft_test
