// SPDX-License-Identifier: MIT
// Products cut into tiles of their output.
#pragma once

#include <graft/backend/thread_pool.hpp>
#include <graft/core/view.hpp>

#include <algorithm>

namespace graft::detail {

// A part of the output.
struct tile {
  index_t row, rows, col, cols;

  template <class T>
  matrix_view<T> of(matrix_view<T> y) const {
    return y.rows_of(row, rows).columns(col, cols);
  }
};

// f(tile) for the tiles of a [rows, cols] whose elements take `depth` multiplications each: two to four
// for every thread, so that one that is held up leaves its share to the others, in the grid that has each operand
// read again the least. Which tiles there are follows from the sizes and the number of threads.
template <class F>
void for_each_tile(index_t rows, index_t cols, index_t depth, const F& f) {
  constexpr index_t small = index_t{1} << 18, large = index_t{1} << 25;  // multiplications worth a tile
  constexpr index_t row_step = 8, col_step = 48;                          // what engines' kernels like
  const auto steps = [](index_t n, index_t parts, index_t step) {
    return std::max<index_t>(((n + parts - 1) / parts + step - 1) / step * step, 1);
  };
  const index_t all = threads(), work = rows * cols * depth;
  const index_t tiles =
      all == 1 ? 1 : std::max<index_t>({1, std::min(work / small, 2 * all), std::min(work / large, 4 * all)});
  index_t down = 1;
  for (index_t r = 2; r <= tiles; ++r)
    if ((tiles + r - 1) / r * rows + r * cols < (tiles + down - 1) / down * rows + down * cols)
      down = r;
  const index_t height = steps(rows, down, row_step);
  const index_t width = steps(cols, (tiles + down - 1) / down, col_step);
  const index_t across = (cols + width - 1) / width;
  for_each_block((rows + height - 1) / height * across, work, [&](index_t t) {
    const index_t row = t / across * height, col = t % across * width;
    f(tile{row, std::min(height, rows - row), col, std::min(width, cols - col)});
  });
}

}  // namespace graft::detail
