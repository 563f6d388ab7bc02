// SPDX-License-Identifier: MIT
// Elementwise operations of the CPU backend: sums, activations, dropout.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>
#include <graft/backend/cpu/mask.hpp>

namespace graft {

namespace detail {

template <class T>
inline constexpr T half_root = T(0.70710678118654752440);  // 1 / √2
template <class T>
inline constexpr T over_root_tau = T(0.39894228040143267794);  // 1 / √(2π)
template <class T>
inline constexpr T two_over_pi = T(0.79788456080286535588);  // √(2 / π)
template <class T>
inline constexpr T bend = T(0.044715);  // of the cubic in gelu_tanh
template <class T>
inline constexpr T leak = T(0.01);  // slope of leaky_relu below zero
template <class T>
inline constexpr T most_exponent = T(80);  // whose power is finite in every precision

}  // namespace detail

template <class T>
void cpu<T>::copy(view y, const_view x) {
  detail::for_each_lane(
      y.rows, y.cols, [](auto& out, auto& in) { out = in; }, y, x);
}

template <class T>
void cpu<T>::fill(view y, T s) {
  detail::for_each_lane(
      y.rows, y.cols, [s](auto& out) { out = s; }, y);
}

template <class T>
void cpu<T>::scale(view y, T s) {
  detail::for_each_lane(
      y.rows, y.cols, [s](auto& out) { out *= s; }, y);
}

template <class T>
void cpu<T>::add(view y, const_view x) {
  detail::for_each_lane(
      y.rows, y.cols, [](auto& out, auto& in) { out += in; }, y, x);
}

template <class T>
void cpu<T>::add_scaled(view y, const_view x, T s) {
  detail::for_each_lane(
      y.rows, y.cols, [s](auto& out, auto& in) { out += s * in; }, y, x);
}

template <class T>
void cpu<T>::multiply(view y, const_view x) {
  detail::for_each_lane(
      y.rows, y.cols, [](auto& out, auto& in) { out *= in; }, y, x);
}

template <class T>
void cpu<T>::activate(view y, const_view x, activation f) {
  using namespace detail;
  using lane = detail::lane<T>;
  const auto each = [&](const auto& g) { for_each_lane(y.rows, y.cols, g, y, x); };
  switch (f) {
    case activation::identity:
      return copy(y, x);
    case activation::relu:
      return each([](lane& out, lane& in) { out = in.max(T(0)); });
    case activation::gelu:
      return each(
          [](lane& out, lane& in) { out = T(0.5) * in * (T(1) + (half_root<T> * in).erf()); });
    case activation::gelu_tanh:  // (1 + tanh u) / 2 = 1 / (1 + exp(-2u))
      return each([](lane& out, lane& in) {
        const lane u = two_over_pi<T> * in * (T(1) + bend<T> * in.square());
        out = in / (T(1) + (T(-2) * u).exp());
      });
    case activation::silu:
      return each([](lane& out, lane& in) { out = in / (T(1) + (-in).exp()); });
    case activation::tanh:
      return each([](lane& out, lane& in) { out = in.tanh(); });
    case activation::sigmoid:
      return each([](lane& out, lane& in) { out = T(1) / (T(1) + (-in).exp()); });
    case activation::leaky_relu:
      return each([](lane& out, lane& in) { out = in.max(leak<T> * in); });
  }
}

template <class T>
void cpu<T>::activate_backward(view dx, const_view dy, const_view x, activation f) {
  using namespace detail;
  using lane = detail::lane<T>;
  const auto each = [&](const auto& g) { for_each_lane(dx.rows, dx.cols, g, dx, dy, x); };
  switch (f) {
    case activation::identity:
      return copy(dx, dy);
    case activation::relu:
      return each([](lane& out, lane& g, lane& in) { out = lane::where_greater(in, 0, g, 0); });
    case activation::gelu:
      return each([](lane& out, lane& g, lane& in) {
        const lane below = T(0.5) + T(0.5) * (half_root<T> * in).erf();
        out = g * (below + over_root_tau<T> * in * (T(-0.5) * in.square()).exp());
      });
    case activation::gelu_tanh:
      return each([](lane& out, lane& g, lane& in) {
        const lane square = in.square();
        const lane u = two_over_pi<T> * in * (T(1) + bend<T> * square);
        const lane e = (T(-2) * u).min(most_exponent<T>).exp();
        const lane s = T(1) / (T(1) + e);  // and 1 - s = e s
        const lane du = T(2) * two_over_pi<T> * (T(1) + T(3) * bend<T> * square);
        out = g * s * (T(1) + in * du * (e * s));
      });
    case activation::silu:
      return each([](lane& out, lane& g, lane& in) {
        const lane e = (-in).min(most_exponent<T>).exp(), s = T(1) / (T(1) + e);
        out = g * s * (T(1) + in * (e * s));
      });
    case activation::tanh:
      return each([](lane& out, lane& g, lane& in) { out = g * (T(1) - in.tanh().square()); });
    case activation::sigmoid:
      return each([](lane& out, lane& g, lane& in) {
        const lane e = (-in).min(most_exponent<T>).exp(), s = T(1) / (T(1) + e);
        out = g * s * (e * s);
      });
    case activation::leaky_relu:
      return each([](lane& out, lane& g, lane& in) { out = lane::where_greater(in, 0, g, leak<T> * g); });
  }
}

template <class T>
void cpu<T>::dropout(view y, const_view x, T rate, dropout_key key, names rows) {
  constexpr index_t piece = 512;
  const detail::dropper<T> drop(rate, key);
  detail::for_each_block(y.rows, 8 * y.size(), [&](index_t i) {
    alignas(64) T factors[piece];
    for (index_t j = 0; j < y.cols; j += piece) {
      const index_t n = std::min(piece, y.cols - j);
      drop.draw(factors, n, static_cast<std::uint32_t>(j / 4), rows[static_cast<std::size_t>(i)]);
      detail::each_lane(
          n, [](auto& out, auto& in, auto& factor) { out = in * factor; }, y.row(i) + j,
          x.row(i) + j, static_cast<const T*>(factors));
    }
  });
}

}  // namespace graft
