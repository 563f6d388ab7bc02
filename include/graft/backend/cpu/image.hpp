// SPDX-License-Identifier: MIT
// The patches of images on the CPU backend.
#pragma once

#include <graft/backend/cpu.hpp>
#include <graft/backend/cpu/eigen.hpp>

#include <algorithm>

namespace graft {

namespace detail {

// f(patch row, column of its first channel, pixel or -1) for every place of the kernel at every
// output pixel of output line `line`.
template <class F>
void for_each_place(const conv_geometry& g, index_t line, const F& f) {
  const index_t lines = g.output().height, across = g.output().width;
  for (index_t j = 0; j < across; ++j)
    for (index_t r = 0; r < g.kernel.height; ++r)
      for (index_t c = 0; c < g.kernel.width; ++c) {
        const index_t y = line % lines * g.stride.height - g.padding.height + r * g.dilation.height;
        const index_t x = j * g.stride.width - g.padding.width + c * g.dilation.width;
        const bool inside = y >= 0 && y < g.size.height && x >= 0 && x < g.size.width;
        f(line * across + j, r * g.kernel.width + c, inside ? y * g.size.width + x : -1);
      }
}

}  // namespace detail

template <class T>
void cpu<T>::patches(view y, const_view x, const conv_geometry& g) {
  const index_t lines = g.output().height, step = g.kernel.size();
  detail::for_each_block(x.rows * lines, y.size(), [&](index_t line) {
    const T* image = x.row(line / lines);
    detail::for_each_place(g, line, [&](index_t row, index_t column, index_t pixel) {
      T* to = y.row(row) + column;
      for (index_t c = 0; c < g.channels; ++c)
        to[c * step] = pixel < 0 ? T(0) : image[pixel * g.channels + c];
    });
  });
}

// A thread has whole images: pixels belong to many patches.
template <class T>
void cpu<T>::patches_backward(view dx, const_view dy, const conv_geometry& g) {
  const index_t lines = g.output().height, step = g.kernel.size();
  detail::for_each_block(dx.rows, dy.size(), [&](index_t i) {
    T* image = dx.row(i);
    std::fill_n(image, dx.cols, T(0));
    for (index_t line = i * lines; line < (i + 1) * lines; ++line)
      detail::for_each_place(g, line, [&](index_t row, index_t column, index_t pixel) {
        const T* from = dy.row(row) + column;
        for (index_t c = 0; pixel >= 0 && c < g.channels; ++c)
          image[pixel * g.channels + c] += from[c * step];
      });
  });
}

}  // namespace graft
