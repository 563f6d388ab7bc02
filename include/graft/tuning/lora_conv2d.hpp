// SPDX-License-Identifier: MIT
// A low-rank update of a convolution.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/layer/conv2d.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

// y = f(x) + s · B (drop(x) ⋆ A):  A a convolution of f's geometry, dilation and all, to r channels
// out of all of x's, B a map of each pixel's r numbers in f's groups;  A [r, channels · kernel], B
// [channels', r / groups], s as in lora_layer. With one group B A is a kernel that could be added
// to f's.
// Of rank 0 it is f itself.
//
// A starts uniform in ±1/√patch, B at zero, so a fresh layer computes exactly f. Keeps x and
// drop(x) ⋆ A when asked for its parameters' gradients, nothing of its own otherwise. Throws
// shape_error for a rank that the groups do not divide. Hu et al. 2021, arXiv:2106.09685, in PEFT's
// form for convolutions.
template <conv_layer L, int Rank = dynamic>
struct lora_conv {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  using view = typename B::view;
  using const_view = typename B::const_view;

  L base;
  parameter a, b;
  double alpha = 16;
  lora_scaling scaling = lora_scaling::over_rank;
  double b_rate = 1;
  bool optional = false;  // a rank of 0 will do
  graft::dropout<B> drop;

  lora_conv() = default;
  lora_conv(L layer, const lora& spec) : base(std::move(layer)) {
    resize(Rank == dynamic ? spec.first_rank() : Rank);
    alpha = spec.alpha;
    scaling = spec.scaling;
    b_rate = spec.b_rate;
    optional = spec.optional();
    drop.rate = spec.dropout;
  }
  lora_conv(L layer, const lora& spec, random_stream& random) : lora_conv(std::move(layer), spec) {
    initialize(random);
  }

  const conv_geometry& geometry() const { return base.geometry(); }
  index_t channels() const { return base.channels(); }
  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return a.rows; }
  scalar scale() const { return static_cast<scalar>(factor_of(scaling, alpha, rank())); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::lora_a, z.a...);
    f(at::lora_b, z.b...);
  }

  struct gradient {
    gradient_t<L> base;
    parameter a, b;
  };

  template <demand D>
  struct cache {
    cache_t<L, D> base;
  };
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    cache_t<L, D> base;
    tensor x, h;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = k.own(base.template forward<D>(x, c.base, k));
    if (empty())
      return y;
    const conv_geometry to_rank = ungrouped();
    tensor h = k.make(x.rows, to_rank.output().size() * rank());
    over(to_rank, k).forward(h, drop.apply(x, k), a, {});
    for_each_group([&](index_t at, index_t out_, index_t from, index_t n) {
      B::product_nt(pixels(y, channels()).columns(at, out_), pixels(h, rank()).columns(from, n),
                    rows_of_b(b, at, out_), scale(), true);
    });
    if constexpr (D.params == params::all) {
      c.x = x;
      c.h = std::move(h);
    }
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr bool trains = D.params == params::all;
    if (empty())
      return base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
    const conv_geometry to_rank = ungrouped();
    tensor dh;
    if constexpr (trains || D.input) {
      if (!dy.contiguous())
        dy = k.copy(dy);
      dh = k.make(dy.rows, to_rank.output().size() * rank());
      for_each_group([&](index_t at, index_t out_, index_t from, index_t n) {
        const const_view slopes = pixels(dy, channels()).columns(at, out_);
        B::product_nn(pixels(dh, rank()).columns(from, n), slopes, rows_of_b(b, at, out_), scale(),
                      false);
        if constexpr (trains)
          B::product_tn(rows_of_b(g->b, at, out_), slopes, pixels(c.h, rank()).columns(from, n),
                        scale(), true);
      });
    }
    if constexpr (trains)
      over(to_rank, k).weight_gradient(g->a, dh, drop.apply(c.x, k));
    if constexpr (D.input) {
      tensor dx = k.own(
          base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k));
      tensor du = k.make(dx.rows, dx.cols);
      over(to_rank, k).input_gradient(du, dh, a);
      B::add(dx, drop.apply(std::move(du), k));
      return dx;
    } else {
      if constexpr (reached<L>(D))
        base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
      return nothing{};
    }
  }

  static constexpr std::string_view method = lora::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()},
            {"alpha", alpha},
            {"over_root", scaling == lora_scaling::over_root},
            {"dropout", drop.rate},
            {"b_rate", b_rate},
            {"kernel_rows", geometry().kernel.height},
            {"kernel_cols", geometry().kernel.width}};
  }
  // Throws shape_error for another rank than the static one or than the groups divide, input_error
  // for impossible numbers.
  void renumber(const decoration_numbers& n) {
    if (const auto r = n.count("rank", optional ? 0 : 1)) {
      if (Rank != dynamic)
        expect_size("lora.rank (a static rank is part of the type)", Rank, *r);
      resize(*r);
    }
    for (const auto& [name, ours] : {std::pair{"kernel_rows", geometry().kernel.height},
                                     std::pair{"kernel_cols", geometry().kernel.width}})
      if (const auto theirs = n.count(name, 1))
        expect_size(name, ours, *theirs);
    n.take("alpha", alpha);
    scaling = scaling_from(n, scaling);
    n.take("b_rate", b_rate);
    n.take_rate("dropout", drop.rate);
  }
  template <class F>
  void rate_factors(F&& f) const {
    f(at::lora_b, b_rate);
  }
  void placed(std::uint32_t place) { drop.place = place; }
  // W + s B A over the patches. Throws input_error for a grouped convolution, whose W sees its own
  // group's channels only, and A all.
  dense_form<B> as_dense() const
    requires has_dense_form<L>
  {
    if (geometry().groups != 1)
      throw input_error("lora: expected a convolution of one group to merge with, found " +
                        std::to_string(geometry().groups) + " groups");
    dense_form<B> d = dense_form_of(base);
    if (!empty())
      B::product_nn(d.weight, b, a, scale(), true);
    return d;
  }

  void initialize(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(a.cols));
    set_values<B>(a, [&] { return random.uniform(-bound, bound); });
    set_values<B>(b, [] { return 0; });
  }

 private:
  bool empty() const { return Rank == dynamic && a.rows == 0; }
  conv_geometry ungrouped() const {
    conv_geometry g = geometry();
    g.groups = 1;
    return g;
  }
  detail::convolution<B> over(const conv_geometry& g, const context<B>& k) const {
    return {g, rank(), k};
  }
  static view pixels(const tensor& x, index_t channels) {
    return x.shaped(x.size() / channels, channels);
  }
  static view rows_of_b(const parameter& b, index_t at, index_t n) {
    return view(b).rows_of(at, n);
  }
  // f(first channel of the output, how many, first of the r numbers, how many)
  template <class F>
  void for_each_group(const F& f) const {
    const index_t groups = geometry().groups, out_ = channels() / groups, n = rank() / groups;
    for (index_t i = 0; i < groups; ++i)
      f(i * out_, out_, i * n, n);
  }
  void resize(index_t r) {
    if (r % geometry().groups != 0)
      throw shape_error("lora.rank: expected a multiple of the convolution's " +
                        std::to_string(geometry().groups) + " groups, found " + std::to_string(r));
    a = parameter(r, r > 0 ? geometry().patch() : 0);
    b = parameter(r > 0 ? channels() : 0, r / geometry().groups);
  }
};

template <conv_layer L, int Rank>
struct lora_on<L, Rank> {
  using type = lora_conv<L, Rank>;
};

template <class L, class... Rest>
lora_conv(L, lora, Rest&&...) -> lora_conv<L, dynamic>;

}  // namespace graft
