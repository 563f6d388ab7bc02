// SPDX-License-Identifier: MIT
// The affine layer.
#pragma once

#include <graft/core/activation.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/initial.hpp>

#include <type_traits>
#include <utility>

namespace graft {

// y = x Wᵀ + b;  W [out, in], b [1, out] or empty, x [n, in].
//
// Keeps x when asked for the gradient of W; nothing for the gradients of b and x.
// Over frozen weights (`frozen_form`) it has no gradient, and W may lie in a mapped file.
// Throws shape_error when x is not [n, in].
template <backend B, class Weight = typename B::parameter>
struct linear {
  using backend_type = B;
  using tensor = typename B::tensor;
  using frozen_form = linear<B, typename B::frozen_weight>;
  static constexpr bool affine = true;
  static constexpr bool trained = std::is_same_v<Weight, typename B::parameter>;

  Weight weight, bias;

  linear() = default;
  linear(index_t in, index_t out, bool with_bias = true)
      : weight(out, in), bias(with_bias ? 1 : 0, with_bias ? out : 0) {}
  // The same map over another kind of weight.
  template <class Other>
    requires(!std::is_same_v<Other, Weight>)
  explicit linear(linear<B, Other> other)
      : weight(std::move(other.weight)), bias(std::move(other.bias)) {}

  index_t in() const { return weight.cols; }
  index_t out() const { return weight.rows; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.weight...);
    f(at::bias, z.bias...);
  }

  template <backend To>
  using on_backend =
      linear<To, std::conditional_t<trained, typename To::parameter, typename To::frozen_weight>>;

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
    expect_size("linear: columns of the input", in(), x.cols);
    tensor y = k.make(x.rows, out());
    B::linear(y, x, weight, bias);
    if constexpr (keeps_input<D>)
      c.x = x;
    return y;
  }

  // f of that, which goes to *z where it is wanted.
  template <demand D>
  tensor forward_activated(const tensor& x, activation f, tensor* z, cache<D>& c,
                           const context<B>& k) const {
    expect_size("linear: columns of the input", in(), x.cols);
    tensor y = k.make(x.rows, out());
    if (z)
      *z = k.make(x.rows, out());
    B::linear_activated(y, z ? *z : y, x, weight, bias, f);
    if constexpr (keeps_input<D>)
      c.x = x;
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                [[maybe_unused]] const context<B>& k) const {
    if constexpr (keeps_input<D>)
      B::product_tn(g->weight, dy, c.x, 1, true);
    if constexpr (trained && D.trains())
      if (bias.rows > 0)
        B::sum_rows(g->bias, dy);
    if constexpr (D.input) {
      tensor dx = k.make(dy.rows, in());
      B::product_nn(dx, dy, weight, 1, false);
      return dx;
    } else {
      return nothing{};
    }
  }

  // BERT's initial values: W normal with the given deviation, b zero.
  void initialize_base(random_stream& random, double deviation = 0.02) {
    set_values<B>(weight, [&] { return deviation * random.normal(); });
    set_values<B>(bias, [] { return 0; });
  }
};

}  // namespace graft
