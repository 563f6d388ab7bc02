// SPDX-License-Identifier: MIT
// Optimizers over the flat store: one loop over segments, moments in buffers of the store's shape.
#pragma once

#include <graft/core/store.hpp>

#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

namespace graft {

// Stochastic gradient descent: v = momentum · v + g;  w −= η (g + momentum · v if nesterov, else v).
struct sgd {
  double rate = 1e-2;
  double momentum = 0;
  bool nesterov = false;
  double decay = 0;
};

// Adam (Kingma & Ba 2015, arXiv:1412.6980).
struct adam {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
};

// AdamW: Adam, and w −= η · decay · w beside it (Loshchilov & Hutter 2019, arXiv:1711.05101).
struct adamw {
  double rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double decay = 0.01;
};

using optimizer_method = std::variant<sgd, adam, adamw>;

// An optimizer and its state for one store. Decay acts on the segments that decay (not on norms and
// biases), or on all when `decay_everything`.
template <class B>
class optimizer {
 public:
  using scalar = typename B::scalar;
  using parameter = typename B::parameter;

  optimizer(optimizer_method method, const parameter_store<B>& store, bool decay_everything = false)
      : method_(method), decay_everything_(decay_everything) {
    if (store.size() == 0)
      return;
    first_ = parameter(1, store.size());
    if (!std::holds_alternative<sgd>(method))
      second_ = parameter(1, store.size());
  }

  // One step: w moves against gradient · gradient_scale at the method's rate times rate_factor and the
  // segment's own factor.
  void step(parameter_store<B>& store, const parameter& gradient, double rate_factor = 1,
            double gradient_scale = 1) {
    ++steps_;
    for (const segment& s : store.segments)
      std::visit([&](const auto& m) { update(m, s, store, gradient, rate_factor, gradient_scale); },
                 method_);
  }

  std::int64_t steps() const { return steps_; }
  const optimizer_method& method() const { return method_; }
  // Bytes of state beside the parameters and their gradient.
  std::size_t state_bytes() const {
    return static_cast<std::size_t>(first_.size() + second_.size()) * sizeof(scalar);
  }

 private:
  static std::span<scalar> piece(const parameter& p, const segment& s) {
    if (p.size() == 0)
      return {};
    return {p.data + s.offset, static_cast<std::size_t>(s.size())};
  }
  static scalar number(double x) { return static_cast<scalar>(x); }

  template <class Method>
  void update(const Method& m, const segment& s, parameter_store<B>& store,
              const parameter& gradient, double rate_factor, double gradient_scale) {
    const scalar rate = number(m.rate * rate_factor * s.rate_factor);
    const bool decays = decay_everything_ || s.decays;
    if constexpr (std::is_same_v<Method, sgd>) {
      B::sgd_update(piece(store.values, s), piece(first_, s), piece(gradient, s),
                    {.rate = rate,
                     .momentum = number(m.momentum),
                     .decay = number(decays ? m.decay : 0),
                     .nesterov = m.nesterov,
                     .gradient_scale = number(gradient_scale)});
    } else {
      double decay = 0;
      if constexpr (std::is_same_v<Method, adamw>)
        decay = decays ? m.decay : 0;
      B::adam_update(piece(store.values, s), piece(first_, s), piece(second_, s),
                     piece(gradient, s),
                     {.rate = rate,
                      .beta1 = number(m.beta1),
                      .beta2 = number(m.beta2),
                      .epsilon = number(m.epsilon),
                      .decay = number(decay),
                      .step = steps_,
                      .gradient_scale = number(gradient_scale)});
    }
  }

  optimizer_method method_;
  bool decay_everything_;
  parameter first_, second_;
  std::int64_t steps_ = 0;
};

// The Euclidean norm of a gradient.
template <class B>
double gradient_norm(const typename B::parameter& gradient) {
  return gradient.size() == 0
             ? 0.0
             : std::sqrt(B::squared_norm(std::span<const typename B::scalar>(
                   gradient.data, static_cast<std::size_t>(gradient.size()))));
}

// What a gradient of this norm is multiplied with so that its norm is at most `limit` (0: no limit), as
// PyTorch's clip_grad_norm_.
inline double clip_factor(double norm, double limit) {
  return limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1.0;
}

}  // namespace graft
