// SPDX-License-Identifier: MIT
// Layer normalisation.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/initial.hpp>

#include <type_traits>
#include <utility>

namespace graft {

// y = (x − mean) / sqrt(var + ε) ∘ w + b, per row; w, b [1, width], x [n, width].
//
// Keeps x and two numbers per row when asked for the gradient of x or w; nothing for b alone.
// Ba et al. 2016, arXiv:1607.06450.
template <backend B, class Weight = typename B::parameter>
struct layer_norm {
  using backend_type = B;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;
  using frozen_form = layer_norm<B, typename B::frozen_weight>;
  static constexpr bool trained = std::is_same_v<Weight, typename B::parameter>;

  Weight weight, bias;
  scalar epsilon = static_cast<scalar>(1e-12);

  layer_norm() = default;
  explicit layer_norm(index_t width, double eps = 1e-12)
      : weight(1, width), bias(1, width), epsilon(static_cast<scalar>(eps)) {}
  template <class Other>
    requires(!std::is_same_v<Other, Weight>)
  explicit layer_norm(layer_norm<B, Other> other)
      : weight(std::move(other.weight)),
        bias(std::move(other.bias)),
        epsilon(other.epsilon) {}

  index_t in() const { return weight.cols; }
  index_t out() const { return weight.cols; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::norm_weight, z.weight...);
    f(at::bias, z.bias...);
  }

  template <backend To>
  using on_backend = layer_norm<
      To, std::conditional_t<trained, typename To::parameter, typename To::frozen_weight>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.epsilon...);
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
  static constexpr bool keeps_input = D.input || (trained && D.params == params::all);
  template <demand D>
  struct cache {};
  template <demand D>
    requires(keeps_input<D>)
  struct cache<D> {
    tensor x, stats;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    expect_size("layer_norm: columns of the input", in(), x.cols);
    tensor y = k.make(x.rows, x.cols), stats = k.make_exact(x.rows, 2);
    B::layer_norm(y, stats, x, weight, bias, epsilon);
    if constexpr (keeps_input<D>) {
      c.x = x;
      c.stats = std::move(stats);
    }
    return y;
  }

  // The norm of h + t, which is kept where x is.
  template <demand D>
  tensor forward_sum(tensor h, const tensor& t, cache<D>& c, const context<B>& k) const {
    expect_size("layer_norm: columns of the input", in(), h.cols);
    const tensor sum = h.unique() ? h : k.make(h.rows, h.cols);
    const tensor y = keeps_input<D> ? k.make(h.rows, h.cols) : sum;
    tensor stats = k.make_exact(h.rows, 2);
    B::add_layer_norm(y, sum, stats, h, t, weight, bias, epsilon);
    if constexpr (keeps_input<D>) {
      c.x = sum;
      c.stats = std::move(stats);
    }
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                [[maybe_unused]] const context<B>& k) const {
    if constexpr (trained && D.params == params::all)
      B::layer_norm_parameters(g->weight, g->bias, dy, c.x, c.stats);
    else if constexpr (trained && D.params == params::biases)
      B::sum_rows(g->bias, dy);
    if constexpr (D.input) {
      dy = k.own(std::move(dy));
      B::layer_norm_backward(dy, dy, c.x, c.stats, weight);
      return dy;
    } else {
      return nothing{};
    }
  }

  // w = 1, b = 0.
  void initialize_base(random_stream&) {
    set_values<B>(weight, [] { return 1; });
    set_values<B>(bias, [] { return 0; });
  }
};

}  // namespace graft
