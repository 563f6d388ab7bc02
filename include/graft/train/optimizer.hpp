// SPDX-License-Identifier: MIT
// Optimizers over the flat store: one loop over segments, moments in buffers of the store's shape.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/store.hpp>
#include <graft/train/step_work.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

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

  optimizer() = default;
  // `rates`, where given, has a factor for each segment's rate.
  optimizer(optimizer_method method, const parameter_store<B>& store, bool decay_everything = false,
            std::vector<double> rates = {})
      : method_(method), decay_everything_(decay_everything), rates_(std::move(rates)) {
    if (!rates_.empty())
      expect_size("optimizer: rates", static_cast<index_t>(store.segments.size()),
                  static_cast<index_t>(rates_.size()));
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
    for (std::size_t i = 0; i < store.segments.size(); ++i) {
      const segment& s = store.segments[i];
      const double factor = rate_factor_of(i, s, rate_factor);
      std::visit([&](const auto& m) { update(m, s, store, gradient, factor, gradient_scale); },
                 method_);
    }
  }
  // … a device knows the gradient's scale itself (train/step_work.hpp).
  template <class State>
    requires(makes_steps<B> && std::is_same_v<State, typename detail::step_types<B>::state>)
  void step(parameter_store<B>& store, const parameter& gradient, double rate_factor,
            const State& state) {
    ++steps_;
    if (store.size() == 0)
      return;
    std::visit(
        [&](const auto& m) {
          std::vector<typename B::segment_rate> rates;
          for (std::size_t i = 0; i < store.segments.size(); ++i) {
            const segment& s = store.segments[i];
            rates.push_back({s.offset, number(m.rate * rate_factor_of(i, s, rate_factor)),
                             number(decay_of(m, s))});
          }
          if constexpr (std::is_same_v<std::decay_t<decltype(m)>, sgd>)
            B::sgd_segments(store.values, first_, gradient, rates, call_of(m, 0, 0, 1), &state);
          else
            B::adam_segments(store.values, first_, second_, gradient, rates, call_of(m, 0, 0, 1),
                             &state);
        },
        method_);
  }
  // β₁ and β₂ of the method, 0 where it has none.
  std::pair<double, double> betas() const {
    return std::visit(
        [](const auto& m) -> std::pair<double, double> {
          if constexpr (requires { m.beta1; })
            return {m.beta1, m.beta2};
          else
            return {0, 0};
        },
        method_);
  }
  // Goes on as after `steps` steps; their moments are given through for_each_state(f), which calls
  // f(name, parameter).
  void resume(std::int64_t steps) { steps_ = steps; }
  template <class F>
  void for_each_state(F&& f) {
    f(std::string_view("first_moment"), first_);
    f(std::string_view("second_moment"), second_);
  }

  std::int64_t steps() const { return steps_; }
  const optimizer_method& method() const { return method_; }
  // Bytes of state beside the parameters and their gradient.
  std::size_t state_bytes() const {
    return static_cast<std::size_t>(first_.size() + second_.size()) * sizeof(scalar);
  }

 private:
  static typename B::view piece(const parameter& p, const segment& s) {
    if (p.size() == 0)
      return {};
    return {p.data + s.offset, 1, s.size()};
  }
  static scalar number(double x) { return static_cast<scalar>(x); }

  template <class Method>
  void update(const Method& m, const segment& s, parameter_store<B>& store,
              const parameter& gradient, double rate_factor, double gradient_scale) {
    const auto call = call_of(m, m.rate * rate_factor, decay_of(m, s), gradient_scale);
    if constexpr (std::is_same_v<Method, sgd>)
      B::sgd_update(piece(store.values, s), piece(first_, s), piece(gradient, s), call);
    else
      B::adam_update(piece(store.values, s), piece(first_, s), piece(second_, s),
                     piece(gradient, s), call);
  }

  double rate_factor_of(std::size_t i, const segment& s, double rate_factor) const {
    return rate_factor * s.rate_factor * (rates_.empty() ? 1 : rates_[i]);
  }
  template <class Method>
  double decay_of(const Method& m, const segment& s) const {
    if constexpr (requires { m.decay; })
      return decay_everything_ || s.decays ? m.decay : 0;
    else
      return 0;
  }
  template <class Method>
  auto call_of(const Method& m, double rate, double decay, double gradient_scale) const {
    if constexpr (std::is_same_v<Method, sgd>)
      return sgd_call<scalar>{.rate = number(rate),
                              .momentum = number(m.momentum),
                              .decay = number(decay),
                              .nesterov = m.nesterov,
                              .gradient_scale = number(gradient_scale)};
    else
      return adam_call<scalar>{.rate = number(rate),
                               .beta1 = number(m.beta1),
                               .beta2 = number(m.beta2),
                               .epsilon = number(m.epsilon),
                               .decay = number(decay),
                               .step = steps_,
                               .gradient_scale = number(gradient_scale)};
  }

  optimizer_method method_;
  bool decay_everything_ = false;
  std::vector<double> rates_;
  parameter first_, second_;
  std::int64_t steps_ = 0;
};

// The Euclidean norm of a gradient.
template <class B>
double gradient_norm(const typename B::parameter& gradient) {
  return gradient.size() == 0 ? 0.0 : std::sqrt(B::squared_norm(gradient));
}

// What a gradient of this norm is multiplied with so that its norm is at most `limit` (0: no limit), as
// PyTorch's clip_grad_norm_.
inline double clip_factor(double norm, double limit) {
  return limit > 0 && norm > limit ? limit / (norm + 1e-6) : 1.0;
}

}  // namespace graft
