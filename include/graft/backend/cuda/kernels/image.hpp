// SPDX-License-Identifier: MIT
// Patches of images, as a convolution sees them (core/image.hpp).
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/image.hpp>

namespace graft::kernels {

// What of a convolution's geometry is asked of every element.
struct patch_walk {
  index_t height, width, channels;  // of the image
  index_t kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width,
      dilation_height, dilation_width;
  index_t out_height, out_width;

  explicit patch_walk(const conv_geometry& g)
      : height(g.size.height), width(g.size.width), channels(g.channels),
        kernel_height(g.kernel.height), kernel_width(g.kernel.width),
        stride_height(g.stride.height), stride_width(g.stride.width),
        padding_height(g.padding.height), padding_width(g.padding.width),
        dilation_height(g.dilation.height), dilation_width(g.dilation.width),
        out_height(g.output().height), out_width(g.output().width) {}
};

// kernel(n, j): place n of all images' output, number j of the patch.
struct patches {
  device_view y;
  const_device_view x;
  patch_walk at;
  GRAFT_DEVICE void operator()(index_t n, index_t j) const {
    const index_t places = at.out_height * at.out_width, place = n % places, image = n / places;
    const index_t taps = at.kernel_height * at.kernel_width, channel = j / taps, tap = j % taps;
    const index_t row = place / at.out_width * at.stride_height - at.padding_height +
                        tap / at.kernel_width * at.dilation_height;
    const index_t col = place % at.out_width * at.stride_width - at.padding_width +
                        tap % at.kernel_width * at.dilation_width;
    const bool inside = row >= 0 && row < at.height && col >= 0 && col < at.width;
    y.set(n, j, inside ? x(image, (row * at.width + col) * at.channels + channel) : 0.0f);
  }
};

// kernel(image, j): number j of an image, which is in at most one place of the output for each tap.
struct patches_backward {
  device_view dx;
  const_device_view dy;
  patch_walk at;
  GRAFT_DEVICE void operator()(index_t image, index_t j) const {
    const index_t channel = j % at.channels, pixel = j / at.channels, row = pixel / at.width,
                  col = pixel % at.width, taps = at.kernel_height * at.kernel_width;
    float sum = 0;
    for (index_t tap = 0; tap < taps; ++tap) {
      const index_t down = row + at.padding_height - tap / at.kernel_width * at.dilation_height;
      const index_t right = col + at.padding_width - tap % at.kernel_width * at.dilation_width;
      if (down < 0 || right < 0 || down % at.stride_height != 0 || right % at.stride_width != 0)
        continue;
      const index_t i = down / at.stride_height, k = right / at.stride_width;
      if (i < at.out_height && k < at.out_width)
        sum += dy((image * at.out_height + i) * at.out_width + k, channel * taps + tap);
    }
    dx.set(image, j, sum);
  }
};

}  // namespace graft::kernels
