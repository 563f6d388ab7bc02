// SPDX-License-Identifier: MIT
// The small network that a bottleneck adapter is.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck_spec.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct adapter_t {
  static constexpr std::string_view name = "adapter";
};
struct adapter_down_t {
  static constexpr std::string_view name = "down";
};
struct adapter_middle_t {
  static constexpr std::string_view name = "middle";
};
struct adapter_up_t {
  static constexpr std::string_view name = "up";
};
inline constexpr adapter_t adapter{};
inline constexpr adapter_down_t adapter_down{};
inline constexpr adapter_middle_t adapter_middle{};
inline constexpr adapter_up_t adapter_up{};
}  // namespace at

// The adapter itself:  A(x) = drop(s · (U σ(D x + b) + b'));  with three matrices
// A(x) = drop(s · (U σ(M σ(D x + b) + b'') + b')).  D [width, in], M [inner, width], U [out, last].
//
// Keeps x and the columns between the matrices when asked for its parameters' gradients, those before
// each σ when asked for its input's. Houlsby et al. 2019, arXiv:1902.00751.
template <class Backend>
struct adapter_branch {
  using backend_type = Backend;
  using B = backend_type;
  using tensor = typename B::tensor;

  linear<B> down, middle, up;
  activation function = activation::relu;
  float scale = 1;
  adapter_init init = adapter_init::identity;
  graft::dropout<B> drop;

  adapter_branch() = default;
  adapter_branch(index_t in, index_t out, const bottleneck& spec)
      : function(spec.activation), scale(spec.scale), init(spec.init) {
    resize(in, out, spec.width, spec.inner);
    drop.rate = spec.dropout;
  }

  bool three() const { return middle.out() > 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::adapter_down, z.down...);
    f(at::adapter_middle, z.middle...);
    f(at::adapter_up, z.up...);
  }

  struct gradient {
    gradient_t<linear<B>> down, middle, up;
  };

  template <demand D>
  static constexpr demand inside{D.any(), D.params};  // the matrices behind the first are reached
  template <demand D>
  struct cache {
    cache_t<linear<B>, D> down, middle, up;
  };
  template <demand D>
    requires(D.any())
  struct cache<D> {
    cache_t<linear<B>, D> down;
    cache_t<linear<B>, inside<D>> middle, up;
    tensor z, m;  // before each σ
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor z = down.template forward<D>(x, c.down, k);
    tensor h = activated(z, k);
    if constexpr (D.any())
      c.z = std::move(z);
    if (three()) {
      tensor m = middle.template forward<inside<D>>(h, c.middle, k);
      h = activated(m, k);
      if constexpr (D.any())
        c.m = std::move(m);
    }
    tensor y = up.template forward<inside<D>>(h, c.up, k);
    if (scale != 1)
      B::scale(y, static_cast<typename B::scalar>(scale));
    return drop.apply(std::move(y), k);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      dy = drop.apply(std::move(dy), k);
      if (scale != 1) {
        dy = k.own(std::move(dy));
        B::scale(dy, static_cast<typename B::scalar>(scale));
      }
      tensor dh = up.template backward<inside<D>>(std::move(dy), c.up, part<D>(g, &gradient::up), k);
      if (three()) {
        B::activate_backward(dh, dh, c.m, function);
        dh = middle.template backward<inside<D>>(std::move(dh), c.middle,
                                                 part<D>(g, &gradient::middle), k);
      }
      B::activate_backward(dh, dh, c.z, function);
      return down.template backward<D>(std::move(dh), c.down, part<D>(g, &gradient::down), k);
    }
  }

  static constexpr std::string_view method = bottleneck::name;
  decoration_numbers numbers() const {
    return {{"width", down.out()}, {"inner", middle.out()}, {"scale", scale}, {"dropout", drop.rate}};
  }
  // Throws input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    const auto width = n.count("width", 1), inner = n.count("inner", 0);
    if (width || inner)
      resize(down.in(), up.out(), width ? *width : down.out(), inner ? *inner : middle.out());
    n.take("scale", scale);
    n.take_rate("dropout", drop.rate);
  }
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    const auto fill = [&](linear<B>& l) {
      if (init == adapter_init::near_identity)
        return l.initialize_base(random, 0.02);
      const double bound = 1 / std::sqrt(static_cast<double>(l.in()));
      for (index_t i = 0; i < l.weight.size(); ++i)
        l.weight.data[i] = static_cast<typename B::scalar>(random.uniform(-bound, bound));
    };
    fill(down);
    if (three())
      fill(middle);
    if (init == adapter_init::near_identity)
      return fill(up);
    for (index_t i = 0; i < up.weight.size(); ++i)
      up.weight.data[i] = 0;
  }

 private:
  void resize(index_t in, index_t out, index_t width, index_t inner) {
    down = linear<B>(in, width);
    middle = inner > 0 ? linear<B>(width, inner) : linear<B>(0, 0, false);
    up = linear<B>(inner > 0 ? inner : width, out);
  }
  tensor activated(const tensor& z, const context<B>& k) const {
    tensor h = k.make(z.rows, z.cols);
    B::activate(h, z, function);
    return h;
  }
};

}  // namespace graft
