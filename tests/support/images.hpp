// SPDX-License-Identifier: MIT
// Images, which PyTorch has channel after channel and we pixel after pixel, and what it computes on
// them.
#pragma once

#include <graft/core/image.hpp>
#include <graft/core/store.hpp>

#include <string>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

// Strides, edges, gaps and groups; of 4 channels and more than one pixel.
inline std::vector<conv_geometry> geometries() {
  return {
      {.size = {3, 2}, .channels = 4},
      {.size = {4, 3}, .channels = 4, .kernel = {2, 3}},
      {.size = {4, 5}, .channels = 4, .kernel = {3, 2}, .stride = {2, 3}, .padding = {1, 2}},
      {.size = {5, 4},
       .channels = 4,
       .kernel = {2, 2},
       .padding = {1, 0},
       .dilation = {3, 2},
       .groups = 2},
  };
}

inline std::string text_of(const conv_geometry& g) {
  const auto pair = [](const char* name, image_size s) {
    return std::string(name) + std::to_string(s.height) + "x" + std::to_string(s.width) + " ";
  };
  return pair("size ", g.size) + pair("kernel ", g.kernel) + pair("stride ", g.stride) +
         pair("padding ", g.padding) + pair("dilation ", g.dilation) + "groups " +
         std::to_string(g.groups);
}

inline conv_geometry golden_geometry(const golden& peer) {
  const auto whole = [&](const std::string& name) {
    return static_cast<index_t>(peer.number(name));
  };
  const auto pair = [&](const std::string& name) {
    return image_size{whole(name + ".height"), whole(name + ".width")};
  };
  return {.size = pair("size"),
          .channels = whole("in"),
          .kernel = pair("kernel_size"),
          .stride = pair("stride"),
          .padding = pair("padding"),
          .dilation = pair("dilation"),
          .groups = whole("groups")};
}

// [n, channels, pixels] -> [n, pixels, channels].
inline std::vector<double> by_pixel(const std::vector<double>& x, index_t channels,
                                    index_t pixels) {
  std::vector<double> y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto c = static_cast<std::size_t>(channels), p = static_cast<std::size_t>(pixels);
    const std::size_t image = i / (c * p), channel = i / p % c, pixel = i % p;
    y[(image * p + pixel) * c + channel] = x[i];
  }
  return y;
}

// A layer that make(geometry, output channels) gives against a golden: outputs and all gradients.
template <class B, class Make>
void check_image_layer(const std::string& name, const Make& make) {
  INFO(name);
  golden peer("conv", name);
  const conv_geometry g = golden_geometry(peer);
  auto layer = make(g, static_cast<index_t>(peer.number("out")));
  const auto pixels_in = [&](const std::string& tensor) {
    return by_pixel(peer.values(tensor), g.channels, g.size.size());
  };
  const auto pixels_out = [&](const std::string& tensor) {
    return by_pixel(peer.values(tensor), layer.channels(), g.output().size());
  };
  const renaming names = [](const std::string& path) -> std::string {
    return path == "lora.a" ? "lora_A.weight" : path == "lora.b" ? "lora_B.weight" : path;
  };
  start_from(peer, names, layer);

  host_workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  const auto tensor_of = [&](const std::vector<double>& values) {
    auto x = B::make(memory, 3, static_cast<index_t>(values.size()) / 3);
    for (index_t i = 0; i < x.size(); ++i)
      x.data[i] = static_cast<typename B::scalar>(values[static_cast<std::size_t>(i)]);
    return x;
  };
  constexpr double tolerance = sizeof(typename B::scalar) == 8 ? 1e-12 : 1e-5;
  using L = decltype(layer);
  const auto store = gather(layer);
  gradient_buffer<L> gradient = make_gradient(layer, store);
  cache_t<L, all_wanted> cache;
  const auto y =
      layer.template forward<all_wanted>(tensor_of(pixels_in("x")), cache, k);
  CHECK(error_of(elements(y), pixels_out("y")) <= tolerance);
  const auto dx = layer.template backward<all_wanted>(tensor_of(pixels_out("m")), cache,
                                                      &gradient.gradient, k);
  CHECK(error_of(elements(dx), pixels_in("grad.x")) <= tolerance);
  expect_same(peer, "grad.", names, store.segments, gradient.values, tolerance);
  CHECK(peer.unused() == std::vector<std::string>{});
}

}  // namespace graft_test
