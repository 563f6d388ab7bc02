// SPDX-License-Identifier: MIT
// Products of matrices that lie in the cache, as those of a head in attention: nothing is copied, no room is
// needed, and there is no size below which they do not pay. For large ones there are the engines.
#pragma once

#include <graft/backend/cpu/eigen.hpp>
#include <graft/core/view.hpp>

#include <algorithm>

namespace graft::detail {

// A matrix, or its transpose, as the left factor of a product.
template <class T, bool Transposed>
struct left_factor {
  const T* data;
  index_t stride;

  T operator()(index_t i, index_t k) const { return Transposed ? data[k * stride + i] : data[i * stride + k]; }
  left_factor below(index_t rows) const { return {data + (Transposed ? rows : rows * stride), stride}; }
};
template <class T>
left_factor<std::remove_const_t<T>, false> as_it_is(matrix_view<T> x) {
  return {x.data, x.stride};
}
template <class T>
left_factor<std::remove_const_t<T>, true> transposed(matrix_view<T> x) {
  return {x.data, x.stride};
}

// y = s · x w or y += s · x w, for Rows rows and Packets packets of columns: they are summed in registers.
template <class Packet, index_t Rows, index_t Packets, bool Transposed, class T>
void small_block(T* y, index_t y_stride, left_factor<T, Transposed> x, const T* w, index_t w_stride, index_t depth, T s,
                 bool add) {
  using namespace Eigen::internal;
  constexpr index_t size = unpacket_traits<Packet>::size;
  Packet sums[Rows][Packets];
  for (auto& row : sums)
    for (Packet& sum : row)
      sum = pset1<Packet>(T(0));
  for (index_t k = 0; k < depth; ++k, w += w_stride) {
    Packet values[Packets];
    for (index_t p = 0; p < Packets; ++p)
      values[p] = ploadu<Packet>(w + p * size);
    for (index_t i = 0; i < Rows; ++i) {
      const Packet f = pset1<Packet>(x(i, k));
      for (index_t p = 0; p < Packets; ++p)
        sums[i][p] = pmadd(f, values[p], sums[i][p]);
    }
  }
  const Packet scale = pset1<Packet>(s);
  for (index_t i = 0; i < Rows; ++i)
    for (index_t p = 0; p < Packets; ++p) {
      T* out = y + i * y_stride + p * size;
      pstoreu(out, add ? pmadd(scale, sums[i][p], ploadu<Packet>(out)) : pmul(scale, sums[i][p]));
    }
}

// The same for any number of rows: Rows at a time, the rest by halves.
template <class Packet, index_t Rows, index_t Packets, bool Transposed, class T>
void small_columns(T* y, index_t y_stride, index_t rows, left_factor<T, Transposed> x, const T* w, index_t w_stride,
                   index_t depth, T s, bool add) {
  for (; rows >= Rows; rows -= Rows) {
    small_block<Packet, Rows, Packets>(y, y_stride, x, w, w_stride, depth, s, add);
    y += Rows * y_stride;
    x = x.below(Rows);
  }
  if constexpr (Rows > 1)
    small_columns<Packet, Rows / 2, Packets>(y, y_stride, rows, x, w, w_stride, depth, s, add);
}

// y = s · x w or, with add, y += s · x w.
template <bool Transposed, class T>
void small_product(matrix_view<T> y, left_factor<T, Transposed> x, matrix_view<const T> w, T s, bool add) {
  using packet = typename Eigen::internal::packet_traits<T>::type;
  constexpr index_t size = Eigen::internal::packet_traits<T>::size;
  constexpr index_t rows = EIGEN_ARCH_DEFAULT_NUMBER_OF_REGISTERS / 4;
  index_t j = 0;
  for (; j + 2 * size <= y.cols; j += 2 * size)
    small_columns<packet, rows, 2>(y.data + j, y.stride, y.rows, x, w.data + j, w.stride, w.rows, s, add);
  for (; j + size <= y.cols; j += size)
    small_columns<packet, rows, 1>(y.data + j, y.stride, y.rows, x, w.data + j, w.stride, w.rows, s, add);
  for (; j < y.cols; ++j)
    small_columns<T, rows, 1>(y.data + j, y.stride, y.rows, x, w.data + j, w.stride, w.rows, s, add);
}

// y = s xᵀ for as many rows and columns as a packet has numbers.
template <class Packet, class T>
void transpose_block(T* y, index_t y_stride, const T* x, index_t x_stride, T s) {
  using namespace Eigen::internal;
  constexpr index_t size = unpacket_traits<Packet>::size;
  PacketBlock<Packet, size> block;
  for (index_t k = 0; k < size; ++k)
    block.packet[k] = pmul(pset1<Packet>(s), ploadu<Packet>(x + k * x_stride));
  ptranspose(block);
  for (index_t k = 0; k < size; ++k)
    pstoreu(y + k * y_stride, block.packet[k]);
}

// y = s xᵀ; y may have more columns than x has rows, which become zeros.
template <class T>
void transpose(matrix_view<T> y, matrix_view<const T> x, T s) {
  using packet = typename Eigen::internal::packet_traits<T>::type;
  constexpr index_t size = Eigen::internal::packet_traits<T>::size;
  const index_t rows = x.rows / size * size, cols = x.cols / size * size;
  for (index_t i = 0; i < rows; i += size)
    for (index_t j = 0; j < cols; j += size)
      transpose_block<packet>(y.row(j) + i, y.stride, x.row(i) + j, x.stride, s);
  for (index_t j = 0; j < x.cols; ++j) {
    for (index_t i = j < cols ? rows : 0; i < x.rows; ++i)
      y(j, i) = s * x(i, j);
    std::fill_n(y.row(j) + x.rows, y.cols - x.rows, T(0));
  }
}

}  // namespace graft::detail
