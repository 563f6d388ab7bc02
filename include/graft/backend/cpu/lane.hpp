// SPDX-License-Identifier: MIT
// Sixteen neighbours: the operand of every elementwise formula of the CPU backend. They are Eigen's packets, the
// processor's vectors: its arrays would take longer to compile and, at -O2, several times as long to run.
#pragma once

#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>

#include <Eigen/Core>
#include <unsupported/Eigen/SpecialFunctions>

namespace graft::detail {

inline constexpr index_t lanes = 16;

// Arithmetic is element by element; a number alone stands for sixteen of it. Unlike an array of dynamic size,
// which Eigen computes partly one by one until the address suits, it gives equal bits everywhere.
template <class T>
class lane {
 public:
  lane() = default;
  lane(T s) : lane(each([s] { return Eigen::internal::pset1<packet>(s); })) {}

  static lane load(const T* data) {
    lane y;
    for (int i = 0; i < packets; ++i)
      y.part_[i] = Eigen::internal::ploadu<packet>(data + i * width);
    return y;
  }
  template <class To>
  lane<To> as() const {
    T all[lanes];
    To converted[lanes];
    store(all);
    std::copy_n(all, lanes, converted);
    return lane<To>::load(converted);
  }
  void store(T* data) const {
    for (int i = 0; i < packets; ++i)
      Eigen::internal::pstoreu(data + i * width, part_[i]);
  }

  friend lane operator+(const lane& a, const lane& b) {
    return each([](packet x, packet y) { return Eigen::internal::padd(x, y); }, a, b);
  }
  friend lane operator-(const lane& a, const lane& b) {
    return each([](packet x, packet y) { return Eigen::internal::psub(x, y); }, a, b);
  }
  friend lane operator*(const lane& a, const lane& b) {
    return each([](packet x, packet y) { return Eigen::internal::pmul(x, y); }, a, b);
  }
  friend lane operator/(const lane& a, const lane& b) {
    return each([](packet x, packet y) { return Eigen::internal::pdiv(x, y); }, a, b);
  }
  lane operator-() const {
    return each([](packet x) { return Eigen::internal::pnegate(x); }, *this);
  }
  lane& operator+=(const lane& b) { return *this = *this + b; }
  lane& operator*=(const lane& b) { return *this = *this * b; }
  lane& operator/=(const lane& b) { return *this = *this / b; }

  lane min(const lane& b) const {
    return each([](packet x, packet y) { return Eigen::internal::pmin(x, y); }, *this, b);
  }
  lane max(const lane& b) const {
    return each([](packet x, packet y) { return Eigen::internal::pmax(x, y); }, *this, b);
  }
  // x where a > b, else y.
  static lane where_greater(const lane& a, const lane& b, const lane& x, const lane& y) {
    return each(
        [](packet p, packet q, packet u, packet v) {
          return Eigen::internal::pselect(Eigen::internal::pcmp_lt(q, p), u, v);
        },
        a, b, x, y);
  }

  lane square() const { return *this * *this; }
  lane sqrt() const {
    if constexpr (traits::HasSqrt)
      return each([](packet x) { return Eigen::internal::psqrt(x); }, *this);
    else
      return one_by_one([](T x) { return std::sqrt(x); });
  }
  lane exp() const {
    if constexpr (traits::HasExp)
      return each([](packet x) { return Eigen::internal::pexp(x); }, *this);
    else
      return one_by_one([](T x) { return std::exp(x); });
  }
  lane log() const {
    if constexpr (traits::HasLog)
      return each([](packet x) { return Eigen::internal::plog(x); }, *this);
    else
      return one_by_one([](T x) { return std::log(x); });
  }
  lane tanh() const {
    if constexpr (traits::HasTanh)
      return each([](packet x) { return Eigen::internal::ptanh(x); }, *this);
    else
      return one_by_one([](T x) { return std::tanh(x); });
  }
  lane erf() const {
    if constexpr (traits::HasErf)
      return each([](packet x) { return Eigen::internal::perf(x); }, *this);
    else
      return one_by_one([](T x) { return std::erf(x); });
  }

  // Σ of the sixteen, neighbours first.
  T sum() const {
    lane y = *this;
    for (int n = packets / 2; n > 0; n /= 2)
      for (int i = 0; i < n; ++i)
        y.part_[i] = Eigen::internal::padd(y.part_[2 * i], y.part_[2 * i + 1]);
    return Eigen::internal::predux(y.part_[0]);
  }
  T largest() const {
    packet y = part_[0];
    for (int i = 1; i < packets; ++i)
      y = Eigen::internal::pmax(y, part_[i]);
    return Eigen::internal::predux_max(y);
  }

 private:
  using traits = Eigen::internal::packet_traits<T>;
  using packet = typename traits::type;
  static constexpr int width = traits::size, packets = lanes / width;

  template <class F, class... X>
  static lane each(const F& f, const X&... x) {
    lane y;
#pragma GCC unroll 16
    for (int i = 0; i < packets; ++i)
      y.part_[i] = f(x.part_[i]...);
    return y;
  }
  template <class F>
  lane one_by_one(const F& f) const {
    T all[lanes];
    store(all);
    std::transform(all, all + lanes, all, f);
    return load(all);
  }

  packet part_[packets];
};

}  // namespace graft::detail
