// SPDX-License-Identifier: MIT
// Two-dimensional convolution.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/image.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/initial.hpp>

#include <algorithm>
#include <cmath>
#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

namespace graft {

namespace detail {

// The parts of a convolution: images go through in blocks, so that the patches of a few of them
// exist at a time; a block is a product [pixels, patch] · [patch, channels] for each group.
template <class B>
struct convolution {
  using tensor = typename B::tensor;
  using view = typename B::view;
  using const_view = typename B::const_view;

  const conv_geometry& g;
  index_t channels;  // of the output
  const context<B>& k;

  // y = x ⋆ w + b.
  void forward(view y, const_view x, const_view w, const_view b) const {
    for_each_block(x.rows, [&](index_t from, index_t n) {
      const tensor p = patches(x.rows_of(from, n));
      for_each_group([&](index_t at, index_t out, index_t in, index_t size) {
        B::linear(pixels(y.rows_of(from, n)).columns(at, out), p.columns(in, size),
                  w.rows_of(at, out), b.data ? b.columns(at, out) : b);
      });
    });
  }
  // dw += the gradient of w.
  void weight_gradient(view dw, const_view dy, const_view x) const {
    for_each_block(x.rows, [&](index_t from, index_t n) {
      const tensor p = patches(x.rows_of(from, n));
      for_each_group([&](index_t at, index_t out, index_t in, index_t size) {
        B::product_tn(dw.rows_of(at, out), pixels(dy.rows_of(from, n)).columns(at, out),
                      p.columns(in, size), 1, true);
      });
    });
  }
  // dx = the gradient of x.
  void input_gradient(view dx, const_view dy, const_view w) const {
    for_each_block(dx.rows, [&](index_t from, index_t n) {
      tensor dp = k.make(n * g.output().size(), g.patch());
      for_each_group([&](index_t at, index_t out, index_t in, index_t size) {
        B::product_nn(dp.columns(in, size), pixels(dy.rows_of(from, n)).columns(at, out),
                      w.rows_of(at, out), 1, false);
      });
      B::patches_backward(dx.rows_of(from, n), dp, g);
    });
  }

  // Rows of images as rows of pixels; contiguous.
  template <class View>
  View pixels(const View& y) const {
    return y.shaped(y.rows * g.output().size(), channels);
  }

 private:
  tensor patches(const_view x) const {
    tensor p = k.make(x.rows * g.output().size(), g.patch());
    B::patches(p, x, g);
    return p;
  }
  template <class F>
  void for_each_block(index_t images, const F& f) const {
    constexpr index_t pixels_at_once = 4096;
    const index_t step = std::max<index_t>(1, pixels_at_once / g.output().size());
    for (index_t from = 0; from < images; from += step)
      f(from, std::min(step, images - from));
  }
  // f(first output channel, how many, first column of their patches, how many)
  template <class F>
  void for_each_group(const F& f) const {
    const index_t out = channels / g.groups, size = g.patch() / g.groups;
    for (index_t i = 0; i < g.groups; ++i)
      f(i * out, out, i * size, size);
  }
};

}  // namespace detail

// y = x ⋆ W + b:  at each place, y = W p + b with p the patch of the image there.
//
// Images are rows, pixel after pixel with a pixel's channels together (core/image.hpp): x [n,
// pixels · channels], y [n, output pixels · channels']. A product over the pixels of many images
// needs no copy, and what works on rows (dropout, heads) works on images. W [channels', channels /
// groups · kernel] and b [1, channels'] or empty are PyTorch's, flattened.
//
// Keeps x when asked for the gradient of W; patches exist in passing. Throws shape_error for groups
// that do not divide the channels, a kernel that does not fit the image, and x of another size.
template <backend B, class Weight = typename B::parameter>
struct conv2d {
  using backend_type = B;
  using tensor = typename B::tensor;
  using frozen_form = conv2d<B, typename B::frozen_weight>;
  static constexpr bool trained = std::is_same_v<Weight, typename B::parameter>;

  Weight weight, bias;
  conv_geometry shape;

  conv2d() = default;
  conv2d(const conv_geometry& g, index_t channels, bool with_bias = true)
      : weight(channels, g.patch() / std::max<index_t>(g.groups, 1)),
        bias(with_bias ? 1 : 0, with_bias ? channels : 0),
        shape(g) {
    if (g.groups < 1 || g.channels % g.groups != 0 || channels % g.groups != 0)
      throw shape_error("conv2d: expected groups that divide " + std::to_string(g.channels) +
                        " and " + std::to_string(channels) + " channels, found " +
                        std::to_string(g.groups));
    if (g.output().size() < 1)
      throw shape_error("conv2d: expected a kernel that fits an image of " +
                        std::to_string(g.size.height) + " x " + std::to_string(g.size.width) +
                        " pixels, found " + std::to_string(g.kernel.height) + " x " +
                        std::to_string(g.kernel.width));
  }
  template <class Other>
    requires(!std::is_same_v<Other, Weight>)
  explicit conv2d(conv2d<B, Other> other)
      : weight(std::move(other.weight)), bias(std::move(other.bias)), shape(other.shape) {}

  const conv_geometry& geometry() const { return shape; }
  index_t channels() const { return weight.rows; }
  index_t in() const { return shape.size.size() * shape.channels; }
  index_t out() const { return shape.output().size() * channels(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.weight...);
    f(at::bias, z.bias...);
  }

  struct mirror {
    typename B::parameter weight, bias;
  };
  using gradient = std::conditional_t<trained, mirror, nothing>;
  struct bias_gradient {
    nothing weight;
    typename B::parameter bias;
  };

  template <demand D>
  static constexpr bool keeps_input = trained && D.params == params::all;
  template <demand D>
  struct cache {};
  template <demand D>
    requires(keeps_input<D>)
  struct cache<D> {
    tensor x;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    expect_size("conv2d: columns of the input", in(), x.cols);
    tensor y = k.make(x.rows, out());
    over(k).forward(y, x, weight, bias);
    if constexpr (keeps_input<D>)
      c.x = x;
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                const context<B>& k) const {
    if (!dy.contiguous())
      dy = k.copy(dy);
    if constexpr (keeps_input<D>)
      over(k).weight_gradient(g->weight, dy, c.x);
    if constexpr (trained && D.trains())
      if (bias.rows > 0)
        B::sum_rows(g->bias, over(k).pixels(typename B::const_view(dy)));
    if constexpr (D.input) {
      tensor dx = k.make(dy.rows, in());
      over(k).input_gradient(dx, dy, weight);
      return dx;
    } else {
      return nothing{};
    }
  }

  // PyTorch's initial values: uniform in ±1/√patch.
  void initialize_base(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(weight.cols));
    const auto draw = [&] { return random.uniform(-bound, bound); };
    set_values<B>(weight, draw);
    set_values<B>(bias, draw);
  }

 private:
  detail::convolution<B> over(const context<B>& k) const { return {shape, channels(), k}; }
};

// A convolution, decorated or not.
template <class L>
concept conv_layer = sized_layer<L> && requires(const L& l) {
  { l.geometry() } -> std::same_as<const conv_geometry&>;
  { l.channels() } -> std::convertible_to<index_t>;
};

}  // namespace graft
