// SPDX-License-Identifier: MIT
// Layer norm of the CPU backend (Ba et al. 2016, arXiv:1607.06450).
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>

namespace graft {

namespace detail {

// One row of a layer norm: y = (x - mean) / deviation ∘ gain + bias; stats = mean, 1 / deviation. y may be x.
template <class T>
void normalize_row(T* y, T* stats, const T* x, const T* gain, const T* bias, index_t n, T eps) {
  using lane = detail::lane<T>;
  const T mean = sum_lanes(n, [](const lane& v) { return v; }, x) / static_cast<T>(n);
  const T squares = sum_lanes(n, [mean](const lane& v) { return lane((v - mean).square()); }, x);
  const T inverse = T(1) / std::sqrt(squares / static_cast<T>(n) + eps);
  each_lane(
      n, [=](lane& out, lane& in, lane& g, lane& b) { out = (in - mean) * inverse * g + b; }, y, x, gain, bias);
  stats[0] = mean;
  stats[1] = inverse;
}

}  // namespace detail

template <class T>
void cpu<T>::layer_norm(view y, view stats, const_view x, const_view gain, const_view bias, T eps) {
  detail::for_each_block(x.rows, x.size(), [&](index_t i) {
    detail::normalize_row<T>(y.row(i), stats.row(i), x.row(i), gain.data, bias.data, x.cols, eps);
  });
}

template <class T>
void cpu<T>::add_layer_norm(view y, view sum, view stats, const_view h, const_view t,
                            const_view gain, const_view bias, T eps) {
  detail::for_each_block(h.rows, h.size(), [&](index_t i) {
    detail::each_lane(
        h.cols, [](auto& out, auto& a, auto& b) { out = a + b; }, sum.row(i), h.row(i), t.row(i));
    detail::normalize_row<T>(y.row(i), stats.row(i), sum.row(i), gain.data, bias.data, h.cols, eps);
  });
}

template <class T>
void cpu<T>::layer_norm_backward(view dx, const_view dy, const_view x, const_view stats,
                                 const_view gain) {
  using lane = detail::lane<T>;
  const index_t n = x.cols;
  detail::for_each_block(x.rows, x.size(), [&](index_t i) {
    const T mean = stats(i, 0), inverse = stats(i, 1);
    const T sum = detail::sum_lanes(
        n, [](const lane& d, const lane& g) { return lane(d * g); }, dy.row(i), gain.data);
    const T dot = detail::sum_lanes(
        n, [mean](const lane& d, const lane& g, const lane& v) { return lane(d * g * (v - mean)); },
        dy.row(i), gain.data, x.row(i));
    const T shift = sum / static_cast<T>(n);
    const T slope = dot * inverse * inverse / static_cast<T>(n);
    detail::each_lane(
        n,
        [=](lane& out, lane& d, lane& g, lane& v) {
          out = inverse * (d * g - shift - (v - mean) * slope);
        },
        dx.row(i), dy.row(i), gain.data, x.row(i));
  });
}

template <class T>
void cpu<T>::layer_norm_parameters(view dgain, view dbias, const_view dy, const_view x,
                                   const_view stats) {
  using lane = detail::lane<T>;
  sum_rows(dbias, dy);
  if (dgain.data)
    detail::sum_columns(
        dgain.data, x.rows, x.cols,
        [&](index_t i, const lane& d, const lane& v) {
          return lane(d * (v - stats(i, 0)) * stats(i, 1));
        },
        dy, x);
}

}  // namespace graft
