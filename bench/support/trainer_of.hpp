// SPDX-License-Identifier: MIT
// The definition of make_trainer.
#pragma once

#include "support/counted.hpp"
#include "support/shapes.hpp"
#include "support/trainer.hpp"
#include "support/training.hpp"

#include <graft/cpu.hpp>

#include <memory>

namespace graft_bench {

template <graft::tuning T>
class trainer_of final : public trainer {
  using B = counted<graft::cpu<float>>;
  using model_type = graft::bert_classifier<B, T>;

  labelled_batch batch_;
  training<model_type> training_;

 public:
  explicit trainer_of(const graft::bert_config& config)
      : batch_(random_batch(config.vocabulary)),
        training_(model_type(config, {"no", "yes"}), {.rate = 1e-4}) {}

  measure step(graft::process_group* together) override {
    const double before = B::flops;
    training_.step(batch_.tokens, batch_.labels, false, 1, together);
    const step_bytes bytes = training_.bytes();
    return {B::flops - before, bytes.cache,     bytes.peak,
            bytes.gradient,    bytes.optimizer, training_.sum_seconds()};
  }
};

template <graft::tuning T>
std::unique_ptr<trainer> make_trainer(const graft::bert_config& config) {
  return std::make_unique<trainer_of<T>>(config);
}

}  // namespace graft_bench
