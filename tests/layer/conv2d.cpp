// SPDX-License-Identifier: MIT
// layer/conv2d.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/images.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("a convolution has the gradients of its formula in every geometry", "",
                   cpu<double>, reference<double>) {
  using B = TestType;
  const layout images = separate_rows(3);
  for (const conv_geometry& g : geometries()) {
    INFO(text_of(g));
    check_layer(conv2d<B>(g, 4), images);
    check_layer(frozen<conv2d<B>>(conv2d<B>(g, 2, false)), images);
    check_layer(biases_only<conv2d<B>>(conv2d<B>(g, 4)), images);
  }
}

TEST_CASE("a convolution computes its formula") {
  using B = reference<double>;
  host_workspace memory;
  const layout one = separate_rows(1);
  const context<B> k{memory, one};
  // A kernel of 1 x 2 pixels 2 apart over a line of 4, with a zero at either end.
  const conv_geometry g{.size = {1, 4},
                        .channels = 2,
                        .kernel = {1, 2},
                        .stride = {1, 2},
                        .padding = {0, 1},
                        .dilation = {1, 2}};
  CHECK(g.output() == image_size{1, 2});
  conv2d<B> l(g, 1);
  // W [1 of 2 channels, 1, 2 places], first channel first.
  l.weight(0, 0) = 1, l.weight(0, 1) = 10, l.weight(0, 2) = 100, l.weight(0, 3) = 1000;
  l.bias(0, 0) = 0.5;
  auto x = B::make(memory, 1, 8);
  for (index_t i = 0; i < 8; ++i)
    x(0, i) = static_cast<double>(i + 1);  // pixels (1, 2) (3, 4) (5, 6) (7, 8)
  cache_t<conv2d<B>, nothing_wanted> none;
  const auto y = l.forward<nothing_wanted>(x, none, k);
  REQUIRE(y.cols == 2);
  CHECK(y(0, 0) == 10 * 3 + 1000 * 4 + 0.5);
  CHECK(y(0, 1) == 3 + 10 * 7 + 100 * 4 + 1000 * 8 + 0.5);
}

TEST_CASE("a convolution takes many images a few at a time") {
  using B = cpu<double>;
  host_workspace memory;
  const conv_geometry g{.size = {40, 60}, .channels = 2, .kernel = {3, 3}, .padding = {1, 1}};
  conv2d<B> l(g, 3);
  randomize(l);
  const layout five = separate_rows(5), one = separate_rows(1);
  const auto x = random_tensor<B>(memory, 5, l.in(), 2);
  cache_t<conv2d<B>, nothing_wanted> none;
  const auto all = l.forward<nothing_wanted>(x, none, {memory, five});
  for (index_t i = 0; i < 5; ++i) {
    const auto alone = l.forward<nothing_wanted>(x.rows_of(i, 1), none, {memory, one});
    CHECK(values_of<double>(alone) == values_of<double>(all.rows_of(i, 1)));
  }
}

TEST_CASE("a convolution that works pixel by pixel is a linear layer over pixels") {
  using B = cpu<double>;
  host_workspace memory;
  const layout three = separate_rows(3);
  conv2d<B> l(conv_geometry{.size = {2, 5}, .channels = 4}, 3);
  randomize(l);
  const auto x = random_tensor<B>(memory, 3, l.in(), 2);
  cache_t<conv2d<B>, nothing_wanted> none;
  const auto y = l.forward<nothing_wanted>(x, none, {memory, three});
  auto expected = B::make(memory, 30, 3);
  B::linear(expected, B::const_view(x.data, 30, 4), l.weight, l.bias);
  CHECK(values_of<double>(B::view(y.data, 30, 3)) == values_of<double>(expected));
}

TEST_CASE("a convolution refuses groups and kernels that do not fit, and other images") {
  using B = reference<double>;
  const conv_geometry g{.size = {3, 3}, .channels = 4, .kernel = {2, 2}, .groups = 2};
  CHECK_THROWS_AS((conv2d<B>(g, 3)), shape_error);
  conv_geometry other = g;
  other.groups = 3;
  CHECK_THROWS_AS((conv2d<B>(other, 6)), shape_error);
  other = g;
  other.dilation = {3, 1};
  CHECK_THROWS_AS((conv2d<B>(other, 4)), shape_error);
  host_workspace memory;
  const layout one = separate_rows(1);
  const conv2d<B> l(g, 4);
  cache_t<conv2d<B>, nothing_wanted> none;
  const auto x = random_tensor<B>(memory, 1, 35, 2);
  CHECK_THROWS_AS(l.forward<nothing_wanted>(x, none, {memory, one}), shape_error);
}

TEMPLATE_TEST_CASE("convolutions compute what PyTorch's do", "", cpu<double>, cpu<float>) {
  for (const std::string name : {"conv2d", "conv2d_grouped"})
    check_image_layer<TestType>(name, [](const conv_geometry& g, index_t channels) {
      return conv2d<TestType>(g, channels);
    });
}

}  // namespace graft_test
