// SPDX-License-Identifier: MIT
// A moving average of the weights.
#pragma once

#include <algorithm>
#include <cstdint>

namespace graft::detail {

template <class B>
typename B::parameter copy_of(const typename B::parameter& p) {
  typename B::parameter copy(1, p.size());
  B::copy(copy, p);
  return copy;
}

// w̄ = d w̄ + (1 − d) w, d at most (1 + step) / (10 + step), of which there have been `step`.
template <class B>
void follow(typename B::parameter& average, const typename B::parameter& w, double d, std::int64_t step) {
  const double t = static_cast<double>(step);
  d = std::min(d, (1 + t) / (10 + t));
  B::scale(average, static_cast<typename B::scalar>(d));
  B::add_scaled(average, w, static_cast<typename B::scalar>(1 - d));
}

// While it lives, w holds the average, if there is one; then what it held before, whatever happened.
template <class B>
class averaged {
 public:
  using parameter = typename B::parameter;

  averaged(parameter& w, const parameter& average) : w_(w) {
    if (average.size() > 0) {
      before_ = copy_of<B>(w);
      B::copy(w, average);
    }
  }
  averaged(averaged&&) = delete;
  ~averaged() {
    if (before_.size() > 0)
      B::copy(w_, before_);
  }

 private:
  parameter& w_;
  parameter before_;
};

}  // namespace graft::detail
