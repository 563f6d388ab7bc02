// SPDX-License-Identifier: MIT
// Products with frozen weights in 16 bits, where the engine and the processor multiply such numbers.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/engine.hpp>
#include <graft/core/half_precision.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

namespace graft {

namespace detail {

// y = x op(w) + b by pieces of rows; x is rounded piece by piece. Rows are filled up to whole steps, so that there
// are few sizes of products.
template <class Engine>
bool bf16_product(matrix_view<float> y, matrix_view<const float> x, const bf16_matrix& w,
                  bool transposed, const float* bias) {
  if constexpr (requires { Engine::has_bf16(); }) {
    constexpr index_t step = 32, most = 256;
    if (!Engine::has_bf16() || !y.contiguous())
      return false;
    const index_t pieces = threads() == 1 ? 1 : 4 * threads(), share = (x.rows + pieces - 1) / pieces;
    const index_t height = std::clamp((share + step - 1) / step * step, step, most);
    for_each_block((x.rows + height - 1) / height, x.rows * w.rows * w.cols, [&](index_t b) {
      const index_t first = b * height, n = std::min(height, x.rows - first);
      const index_t rows = (n + step - 1) / step * step;
      thread_local std::vector<std::uint16_t> rounded;
      thread_local std::vector<float> whole;
      rounded.resize(std::max(rounded.size(), static_cast<std::size_t>(rows * x.cols)));
      for (index_t i = 0; i < n; ++i)
        std::transform(x.row(first + i), x.row(first + i) + x.cols, rounded.data() + i * x.cols, to_bf16);
      std::fill_n(rounded.data() + n * x.cols, (rows - n) * x.cols, std::uint16_t{0});
      float* out = y.row(first);
      if (rows > n) {
        whole.resize(std::max(whole.size(), static_cast<std::size_t>(rows * y.cols)));
        out = whole.data();
      }
      Engine::bf16_product(out, rounded.data(), w.bits.data(), rows, y.cols, x.cols, transposed, bias);
      if (rows > n)
        std::copy_n(out, n * y.cols, y.row(first));
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
bool cpu<T>::product_nn_of(view y, const_view x, const bf16_matrix& w) {
  if constexpr (std::is_same_v<T, float>)
    return detail::bf16_product<detail::engine>(y, x, w, false, nullptr);
  else
    return false;
}

}  // namespace graft
