// SPDX-License-Identifier: MIT
// How a convolution walks over images.
#pragma once

#include <graft/core/view.hpp>

namespace graft {

struct image_size {
  index_t height = 1;
  index_t width = 1;
  constexpr index_t size() const { return height * width; }
  friend constexpr bool operator==(image_size, image_size) = default;
};

// Images of `size` pixels with `channels` numbers each are rows of [n, size · channels], pixel
// after pixel, the channels of a pixel together. A kernel looks at every `dilation`-th pixel of a
// patch; patches begin every `stride` pixels of the image with `padding` zeros around it. Channels
// fall into `groups` of equal size, each convolved by itself.
struct conv_geometry {
  image_size size{};
  index_t channels = 1;
  image_size kernel{};
  image_size stride{};
  image_size padding{0, 0};
  image_size dilation{};
  index_t groups = 1;

  constexpr image_size output() const {
    const auto along = [](index_t n, index_t k, index_t s, index_t p, index_t d) {
      const index_t room = n + 2 * p - d * (k - 1) - 1;
      return room < 0 ? 0 : room / s + 1;
    };
    return {along(size.height, kernel.height, stride.height, padding.height, dilation.height),
            along(size.width, kernel.width, stride.width, padding.width, dilation.width)};
  }
  // Numbers in one patch, of all channels.
  constexpr index_t patch() const { return channels * kernel.size(); }
  friend constexpr bool operator==(const conv_geometry&, const conv_geometry&) = default;
};

}  // namespace graft
