// SPDX-License-Identifier: MIT
// tuning/lora_conv2d.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/tuning/frozen.hpp>
#include <graft/tuning/lora_conv2d.hpp>

#include "support/catch.hpp"
#include "support/golden.hpp"
#include "support/gradient_check.hpp"
#include "support/images.hpp"

namespace graft_test {

TEMPLATE_TEST_CASE("a low-rank update of a convolution has the gradients of its formula", "",
                   cpu<double>) {
  using B = TestType;
  const layout images = separate_rows(3);
  const bool training = GENERATE(false, true);
  for (const conv_geometry& g : geometries()) {
    INFO(text_of(g) << ", training " << training);
    const lora spec{.rank = 2, .dropout = 0.3f};
    check_layer(lora_conv(frozen<conv2d<B>>(conv2d<B>(g, 2)), spec), images, training);
    check_layer(lora_conv(conv2d<B>(g, 4, false), spec), images, training);
    check_layer(lora_conv(lora_conv(frozen<conv2d<B>>(conv2d<B>(g, 2)), spec), spec), images,
                training);
  }
}

TEST_CASE("a low-rank update of a convolution with one group is a kernel added to it") {
  using B = cpu<double>;
  using plain = conv2d<B>;
  host_workspace memory;
  const layout three = separate_rows(3);
  const context<B> k{memory, three};
  for (const conv_geometry& g : geometries()) {
    if (g.groups > 1)
      continue;
    plain base(g, 3);
    randomize(base);
    lora_conv<plain, 2> l(base, lora{.rank = 2, .alpha = 6});
    randomize(l);  // the base too: layers share their parameters
    const auto x = random_tensor<B>(memory, 3, l.in(), 4);
    cache_t<plain, nothing_wanted> none;
    cache_t<decltype(l), nothing_wanted> none_either;
    const auto y = l.forward<nothing_wanted>(x, none_either, k);
    B::product_nn(base.weight, l.b, l.a, 3, true);
    const auto expected = base.forward<nothing_wanted>(x, none, k);
    CHECK(relative_error(values_of<double>(y), values_of<double>(expected)) < 1e-13);
  }
}

TEST_CASE("a fresh low-rank update of a convolution computes exactly the convolution") {
  using B = cpu<float>;
  host_workspace memory;
  const layout three = separate_rows(3);
  const context<B> k{memory, three};
  random_stream random(3);
  const conv_geometry g = geometries().back();
  conv2d<B> base(g, 4);
  randomize(base);
  const lora_conv l(base, lora{.rank = 4}, random);
  CHECK(largest(values_of<const float>(l.a)) <= 0.25);  // 1 / √(4 · 2 · 2)
  CHECK(largest(values_of<const float>(l.a)) > 0.2);
  const auto x = random_tensor<B>(memory, 3, l.in(), 4);
  cache_t<conv2d<B>, nothing_wanted> none;
  cache_t<lora_conv<conv2d<B>>, nothing_wanted> none_either;
  CHECK(values_of<float>(l.forward<nothing_wanted>(x, none_either, k)) ==
        values_of<float>(base.forward<nothing_wanted>(x, none, k)));
}

TEST_CASE("a low-rank update of a convolution takes numbers that fit it") {
  using B = cpu<float>;
  const conv_geometry g = geometries().back();  // two groups
  lora_conv l(conv2d<B>(g, 4), lora{.rank = 2});
  l.renumber({{"rank", 6}, {"alpha", 3}, {"dropout", 0.5}});
  CHECK(l.a.rows == 6);
  CHECK(l.b.cols == 3);
  CHECK(l.scale() == 0.5f);
  CHECK_THROWS_AS(l.renumber({{"rank", 3}}), shape_error);
  CHECK_THROWS_AS((lora_conv<conv2d<B>, 3>(conv2d<B>(g, 4), lora{.rank = 3})), shape_error);
  lora_conv<conv2d<B>, 2> of_two(conv2d<B>(g, 4), lora{.rank = 2});
  CHECK_THROWS_AS(of_two.renumber({{"rank", 4}}), shape_error);
}

// PEFT leaves the dilation out of A; the golden has it put in.
TEMPLATE_TEST_CASE("low-rank updates of convolutions compute what PEFT's do", "", cpu<double>,
                   cpu<float>) {
  using B = TestType;
  for (const std::string name : {"lora_conv2d", "lora_conv2d_grouped"}) {
    const int rank = static_cast<int>(golden("conv", name).number("rank"));
    check_image_layer<B>(name, [&](const conv_geometry& g, index_t channels) {
      return lora_conv(conv2d<B>(g, channels), lora{.rank = rank, .alpha = 2.0f * float(rank)});
    });
  }
}

}  // namespace graft_test
