// SPDX-License-Identifier: MIT
// Layer norm of the CPU backend (Ba et al. 2016, arXiv:1607.06450).
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <cmath>

namespace graft {

template <class T>
void cpu<T>::layer_norm(view y, view stats, const_view x, const_view gain, const_view bias, T eps) {
  using lane = detail::lane<T>;
  const index_t n = x.cols;
  detail::for_each_block(x.rows, x.size(), [&](index_t i) {
    const T mean = detail::sum_lanes(
                       n, [](const lane& v) { return v; }, x.row(i)) /
                   static_cast<T>(n);
    const T squares = detail::sum_lanes(
        n, [mean](const lane& v) { return lane((v - mean).square()); }, x.row(i));
    const T inverse = T(1) / std::sqrt(squares / static_cast<T>(n) + eps);
    detail::each_lane(
        n, [=](lane& out, lane& in, lane& g, lane& b) { out = (in - mean) * inverse * g + b; },
        y.row(i), x.row(i), gain.data, bias.data);
    stats(i, 0) = mean;
    stats(i, 1) = inverse;
  });
}

template <class T>
void cpu<T>::add_layer_norm(view y, view sum, view stats, const_view h, const_view t,
                            const_view gain, const_view bias, T eps) {
  if (sum.data != h.data)
    copy(sum, h);
  add(sum, t);
  layer_norm(y, stats, sum, gain, bias, eps);
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
