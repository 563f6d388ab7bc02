// SPDX-License-Identifier: MIT
// The patches of images on the reference backend.
#pragma once

#include <graft/core/image.hpp>
#include <graft/core/view.hpp>

namespace graft::detail {

template <class T>
struct reference_image {
  using view = matrix_view<T>;
  using const_view = matrix_view<const T>;

  static void patches(view y, const_view x, const conv_geometry& g) {
    for (index_t i = 0; i < y.rows; ++i)
      for (index_t j = 0; j < y.cols; ++j) {
        const index_t column = column_of(g, i, j);
        y(i, j) = column < 0 ? T(0) : x(i / g.output().size(), column);
      }
  }
  static void patches_backward(view dx, const_view dy, const conv_geometry& g) {
    for (index_t i = 0; i < dx.rows; ++i)
      for (index_t j = 0; j < dx.cols; ++j)
        dx(i, j) = T(0);
    for (index_t i = 0; i < dy.rows; ++i)
      for (index_t j = 0; j < dy.cols; ++j)
        if (const index_t column = column_of(g, i, j); column >= 0)
          dx(i / g.output().size(), column) += dy(i, j);
  }

 private:
  // Which number of its image stands in column j of patch i, or -1 beyond the edge.
  static index_t column_of(const conv_geometry& g, index_t i, index_t j) {
    const index_t place = i % g.output().size(), channel = j / g.kernel.size();
    const index_t at = j % g.kernel.size();
    const index_t y = place / g.output().width * g.stride.height - g.padding.height +
                      at / g.kernel.width * g.dilation.height;
    const index_t x = place % g.output().width * g.stride.width - g.padding.width +
                      at % g.kernel.width * g.dilation.width;
    if (y < 0 || y >= g.size.height || x < 0 || x >= g.size.width)
      return -1;
    return (y * g.size.width + x) * g.channels + channel;
  }
};

}  // namespace graft::detail
