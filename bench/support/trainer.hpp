// SPDX-License-Identifier: MIT
// A training step of any strategy behind one type, so that each is compiled in a file of its own.
#pragma once

#include "support/tunings.hpp"

#include <graft/model/bert.hpp>
#include <graft/train/process_group.hpp>

#include <cstddef>
#include <memory>

namespace graft_bench {

struct trainer {
  struct measure {
    double flops = 0;  // as counted<cpu<float>> counts them
    std::size_t cache_bytes = 0, peak_bytes = 0, gradient_bytes = 0, optimizer_bytes = 0;
    double sum_seconds = 0;  // adding up the gradients of all processes, and waiting for them
  };
  virtual ~trainer() = default;
  // One step on a fixed random batch of 16 × 128 tokens, dropout off; with `together`, on one of each
  // process, whose gradients are added up.
  virtual measure step(graft::process_group* together = nullptr) = 0;
};

// A classifier with two labels and random weights. Defined for every strategy that
// bench/CMakeLists.txt names.
template <graft::tuning T>
std::unique_ptr<trainer> make_trainer(const graft::bert_config& config);

}  // namespace graft_bench
