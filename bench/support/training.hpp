// SPDX-License-Identifier: MIT
// One step of training a classifier: forward, loss, backward, clipping at norm 1, AdamW.
#pragma once

#include "support/measure.hpp"

#include <graft/graft.hpp>
#include <graft/train/process_group.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace graft_bench {

// What a step holds beside the model: what forward keeps for backward, the most that lay in the
// workspace at once, gradients, optimizer state.
struct step_bytes {
  std::size_t cache = 0, peak = 0, gradient = 0, optimizer = 0;
};

template <class Model>
class training {
 public:
  using B = typename Model::backend_type;

  training(Model m, const graft::adamw& method)
      : model_(std::move(m)),
        gradient_(graft::make_gradient(model_.network, model_.parameters)),
        optimizer_(method, model_.parameters) {}

  // Dropout acts when asked for, at the rates of the model's configuration. The gradient is the
  // mean of those that the processes `together` have. Returns the loss.
  double step(const graft::token_batch& batch, std::span<const std::int32_t> labels, bool dropout,
              double clip = 1, graft::process_group* together = nullptr) {
    const graft::context<B> k{memory_, batch.rows, dropout, 0, steps_++};
    gradient_.clear();
    const std::size_t before = memory_.bytes_in_use();
    auto outputs = model_.network.template forward<graft::training_demand>(batch, cache_, k);
    cache_bytes_ = memory_.bytes_in_use() - before;
    auto r = graft::cross_entropy{}.operator()<B>(outputs, labels, k);
    model_.network.template backward<graft::training_demand>(std::move(r.gradient), cache_,
                                                             &gradient_.gradient, k);
    if (together)
      average(*together);
    const double norm = graft::gradient_norm<B>(gradient_.values);
    optimizer_.step(model_.parameters, gradient_.values, 1, graft::clip_factor(norm, clip));
    return r.loss;
  }

  // Of the last step.
  step_bytes bytes() const {
    return {cache_bytes_, memory_.peak_bytes(),
            static_cast<std::size_t>(gradient_.values.size()) * sizeof(typename B::scalar),
            optimizer_.state_bytes()};
  }
  double sum_seconds() const { return sum_seconds_; }
  Model& model() { return model_; }

 private:
  using scalar = typename B::scalar;

  void average(graft::process_group& together) {
    const double start = seconds_now();
    together.sum(std::span<scalar>(gradient_.values.data,
                                   static_cast<std::size_t>(gradient_.values.size())));
    sum_seconds_ = seconds_now() - start;
    B::scale(gradient_.values, scalar{1} / static_cast<scalar>(together.size()));
  }

  Model model_;
  graft::gradient_buffer<typename Model::network_type> gradient_;
  graft::optimizer<B> optimizer_;
  typename B::workspace memory_;
  typename Model::training_cache cache_;
  std::uint64_t steps_ = 0;
  std::size_t cache_bytes_ = 0;
  double sum_seconds_ = 0;
};

}  // namespace graft_bench
