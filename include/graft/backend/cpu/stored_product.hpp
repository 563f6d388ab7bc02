// SPDX-License-Identifier: MIT
// Products with frozen weights in 16 or 8 bits, where the engine and the processor multiply such numbers.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/engine.hpp>
#include <graft/core/half_precision.hpp>
#include <graft/core/int8_rows.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

namespace graft {

namespace detail {

// f(first, n) for pieces of n rows: whole steps but for the last, 256 rows at most, and several pieces for
// every thread.
inline constexpr index_t piece_step = 32, most_in_piece = 256;

template <class F>
void for_each_piece(index_t rows, index_t work, const F& f) {
  const index_t pieces = threads() == 1 ? 1 : 4 * threads(), share = (rows + pieces - 1) / pieces;
  const index_t height =
      std::clamp((share + piece_step - 1) / piece_step * piece_step, piece_step, most_in_piece);
  for_each_block((rows + height - 1) / height, work,
                 [&](index_t b) { f(b * height, std::min(height, rows - b * height)); });
}

// At least so many numbers that a thread keeps for the next time.
template <class T>
T* at_least(std::vector<T>& kept, index_t n) {
  kept.resize(std::max(kept.size(), static_cast<std::size_t>(n)));
  return kept.data();
}

// y = x op(w) + b by pieces of rows; x is rounded piece by piece. Rows are filled up to whole steps, so that there
// are few sizes of products.
template <class Engine>
bool bf16_product(matrix_view<float> y, matrix_view<const float> x, const bf16_matrix& w,
                  bool transposed, const float* bias) {
  if constexpr (requires { Engine::has_bf16(); }) {
    if (!Engine::has_bf16() || !y.contiguous())
      return false;
    for_each_piece(x.rows, x.rows * w.rows * w.cols, [&](index_t first, index_t n) {
      const index_t rows = (n + piece_step - 1) / piece_step * piece_step;
      thread_local std::vector<std::uint16_t> kept_bits;
      thread_local std::vector<float> kept_rows;
      std::uint16_t* rounded = at_least(kept_bits, rows * x.cols);
      for (index_t i = 0; i < n; ++i)
        std::transform(x.row(first + i), x.row(first + i) + x.cols, rounded + i * x.cols, to_bf16);
      std::fill_n(rounded + n * x.cols, (rows - n) * x.cols, std::uint16_t{0});
      float* out = rows > n ? at_least(kept_rows, rows * y.cols) : y.row(first);
      Engine::bf16_product(out, rounded, w.bits.data(), rows, y.cols, x.cols, transposed, bias);
      if (rows > n)
        std::copy_n(out, n * y.cols, y.row(first));
    });
    return true;
  } else {
    return false;
  }
}

// y[i, j] = (Σ_k q[i, k] p[j, k]) t[j] s[i] + b[j] by pieces of rows: p and t are the codes and scales of w,
// q and s those of the rows of x (core/int8_rows.hpp). The sums are of whole numbers; false for more columns
// than 32 bits have room for.
template <class Engine>
bool int8_product(matrix_view<float> y, matrix_view<const float> x, const int8_matrix& w, const float* bias) {
  if constexpr (requires { Engine::has_int8(); }) {
    constexpr index_t most_cols = std::numeric_limits<std::int32_t>::max() / (127 * 127);
    if (!Engine::has_int8() || x.cols == 0 || x.cols > most_cols)
      return false;
    for_each_piece(x.rows, x.rows * w.rows * w.cols, [&](index_t first, index_t n) {
      thread_local std::vector<std::int8_t> kept_codes;
      thread_local std::vector<std::int32_t> kept_sums;
      std::int8_t* codes = at_least(kept_codes, n * x.cols);
      std::int32_t* sums = at_least(kept_sums, n * y.cols);
      std::array<float, most_in_piece> scales;
      for (index_t i = 0; i < n; ++i)
        scales[static_cast<std::size_t>(i)] = round_to_int8(codes + i * x.cols, x.row(first + i), x.cols);
      Engine::int8_product(sums, codes, w.q.data(), n, y.cols, x.cols);
      for (index_t i = 0; i < n; ++i) {
        float* out = y.row(first + i);
        const std::int32_t* row = sums + i * y.cols;
        const float *of_column = w.row_scale.data(), of_row = scales[static_cast<std::size_t>(i)];
        for (index_t j = 0; j < y.cols; ++j)
          out[j] = static_cast<float>(row[j]) * of_column[j] * of_row;
        if (bias)
          for (index_t j = 0; j < y.cols; ++j)
            out[j] += bias[j];
      }
    });
    return true;
  } else {
    return false;
  }
}

}  // namespace detail

template <class T>
bool cpu<T>::linear_of(view y, const_view x, const bf16_matrix& w, const_view b) {
  if constexpr (std::is_same_v<T, float>)
    return detail::bf16_product<detail::engine>(y, x, w, true, b.data);
  else
    return false;
}

template <class T>
bool cpu<T>::linear_of(view y, const_view x, const int8_matrix& w, const_view b) {
  if constexpr (std::is_same_v<T, float>)
    return detail::int8_product<detail::engine>(y, x, w, b.data);
  else
    return false;
}

template <class T>
bool cpu<T>::product_nn_of(view y, const_view x, const bf16_matrix& w) {
  if constexpr (std::is_same_v<T, float>)
    return detail::bf16_product<detail::engine>(y, x, w, false, nullptr);
  else
    return false;
}

}  // namespace graft
