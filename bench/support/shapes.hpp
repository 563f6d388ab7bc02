// SPDX-License-Identifier: MIT
// What benchmarks compute with: MiniLM, BERT-base, and a model to try the programs with; 16 sequences of 128
// random tokens; a step of Adam.
#pragma once

#include <graft/core/backend.hpp>
#include <graft/core/random.hpp>
#include <graft/model/bert.hpp>
#include <graft/model/tokens.hpp>

#include <cstdint>
#include <vector>

namespace graft_bench {

inline constexpr graft::index_t sequences = 16;
inline constexpr graft::index_t length = 128;
inline constexpr graft::index_t tokens = sequences * length;

inline graft::bert_config minilm() {
  graft::bert_config c;
  c.width = 384;
  c.layers = 6;
  c.inner = 1536;
  return c;
}

// The defaults of bert_config.
inline graft::bert_config bert_base() { return {}; }

inline graft::bert_config tiny() {
  graft::bert_config c;
  c.width = 64;
  c.layers = 2;
  c.heads = 2;
  c.inner = 128;
  c.vocabulary = 1000;
  return c;
}

inline constexpr graft::adam_call<float> adam_step{.rate = 1e-6f,
                                                   .beta1 = 0.9f,
                                                   .beta2 = 0.999f,
                                                   .epsilon = 1e-8f,
                                                   .decay = 0.01f,
                                                   .step = 1};

struct labelled_batch {
  graft::token_batch tokens;
  std::vector<std::int32_t> labels;
};

inline labelled_batch random_batch(graft::index_t vocabulary) {
  labelled_batch batch;
  graft::random_stream random(1);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(length));
  for (std::uint32_t s = 0; s < static_cast<std::uint32_t>(sequences); ++s) {
    for (std::int32_t& id : ids)
      id = static_cast<std::int32_t>(random.below(static_cast<std::uint64_t>(vocabulary)));
    batch.tokens.append(ids, {}, s, 0);
    batch.labels.push_back(static_cast<std::int32_t>(s % 2));
  }
  return batch;
}

}  // namespace graft_bench
