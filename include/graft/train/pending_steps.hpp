// SPDX-License-Identifier: MIT
// Steps whose loss and norm nobody has waited for.
#pragma once

#include <graft/core/reading.hpp>
#include <graft/train/fit_options.hpp>

#include <cmath>
#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>

namespace graft::detail {

// The readings of steps, in their order, until they have arrived. They must be finite numbers: else
// divergence_error is thrown. Where the loss is `scaled`, a norm may be none until its scale has come down.
class pending_steps {
 public:
  explicit pending_steps(bool scaled) : scaled_(scaled) {}

  void add(std::int64_t step, const reading& loss, const reading& norm, double weight) {
    waiting_.push_back({step, loss, norm, weight});
  }

  // f(loss, weight) for the steps that have arrived, each once …
  template <class F>
  void take_arrived(F&& f) {
    while (!waiting_.empty() && waiting_.front().loss.arrived() && waiting_.front().norm.arrived())
      take(f);
  }
  // … and for all, waiting for them.
  template <class F>
  void take_all(F&& f) {
    while (!waiting_.empty())
      take(f);
  }
  // The same without taking them.
  template <class F>
  void for_each(F&& f) const {
    for (const pending& p : waiting_)
      f(p.loss.value(), p.weight);
  }

  // Checks numbers that have arrived; others are checked when they are taken.
  void expect_finite_loss(std::int64_t step, const reading& loss) const {
    if (loss.arrived() && !std::isfinite(loss.value()))
      throw divergence_error(step, "loss", loss);
  }
  void expect_finite_norm(std::int64_t step, const reading& norm) {
    if (!norm.arrived())
      return;
    const bool finite = std::isfinite(norm.value());
    overflows_ = finite ? 0 : overflows_ + 1;
    if (!finite && (!scaled_ || overflows_ > most_overflows))
      throw divergence_error(step, "gradient norm", norm);
  }

 private:
  static constexpr int most_overflows = 40;  // in a row: more than halvings of the loss's scale
  struct pending {
    std::int64_t step;
    reading loss, norm;
    double weight;
  };

  template <class F>
  void take(F&& f) {
    const pending p = std::move(waiting_.front());
    waiting_.pop_front();
    expect_finite_loss(p.step, p.loss);
    expect_finite_norm(p.step, p.norm);
    f(p.loss.value(), p.weight);
  }

  std::deque<pending> waiting_;
  bool scaled_ = false;
  int overflows_ = 0;
};

}  // namespace graft::detail
