// SPDX-License-Identifier: MIT
// A low-rank update of an affine layer.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/adapter_gate.hpp>
#include <graft/tuning/lora_spec.hpp>
#include <graft/tuning/lora_start.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace graft {

// y = f(x) + s · (drop(x) Aᵀ Bᵀ + c);  A [r, in], B [out, r], s = α / r or α / √r, or the gate's number
// for each sequence; c [1, out] where the form has a bias. Of rank 0 it is f itself.
//
// A and B start as lora_init says; W + s B A is never formed. Keeps x (where A is trained) and
// drop(x) Aᵀ when asked for its parameters' gradients, nothing of its own otherwise. Itself affine, so
// decorations of affine layers nest in each other. Hu et al. 2021, arXiv:2106.09685.
template <dense_layer L, int Rank = dynamic, lora_form Form = lora_form{}>
struct lora_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  static constexpr bool affine = true;

  L base;
  parameter a, b;
  std::conditional_t<Form.bias, parameter, nothing> bias;
  std::conditional_t<Form.gating, adapter_gate<B>, nothing> gate;
  double alpha = 16;
  lora_scaling scaling = lora_scaling::over_rank;
  double b_rate = 1;
  bool optional = false;  // a rank of 0 will do
  graft::dropout<B> drop;
  lora_factors<B> taken;  // what an init that takes A and B from W took

  lora_layer() = default;
  lora_layer(L layer, const lora& spec) : base(std::move(layer)) {
    resize(Rank == dynamic ? spec.first_rank() : Rank);
    alpha = spec.alpha;
    scaling = spec.scaling;
    b_rate = spec.b_rate;
    optional = spec.optional();
    drop.rate = spec.dropout;
    if constexpr (Form.gating)
      gate = adapter_gate<B>(base.in());
  }
  lora_layer(L layer, const lora& spec, random_stream& random)
      : lora_layer(std::move(layer), spec) {
    initialize(random);
    start_from_base();
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return Rank == dynamic ? a.rows : Rank; }
  scalar scale() const {
    return Form.gating ? scalar(1) : static_cast<scalar>(factor_of(scaling, alpha, rank()));
  }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::lora_a, z.a...);
    f(at::lora_b, z.b...);
    if constexpr (Form.bias)
      f(at::lora_bias, z.bias...);
    if constexpr (Form.gating)
      f(at::lora_gate, z.gate...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = lora_layer<on_backend_t<L, To>, Rank, Form>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.alpha...);
    f(z.scaling...);
    f(z.drop...);
  }

  struct gradient {
    gradient_t<L> base;
    std::conditional_t<Form.train_a, parameter, nothing> a;
    parameter b;
    std::conditional_t<Form.bias, parameter, nothing> bias;
    std::conditional_t<Form.gating, gradient_t<adapter_gate<B>>, nothing> gate;
  };

  template <demand D>
  struct gate_cache {
    using type = nothing;
  };
  template <demand D>
    requires(Form.gating)
  struct gate_cache<D> {
    using type = cache_t<adapter_gate<B>, D>;
  };

  template <demand D>
  struct cache {
    cache_t<L, D> base;
    typename gate_cache<D>::type gate;
  };
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    cache_t<L, D> base;
    typename gate_cache<D>::type gate;
    std::conditional_t<Form.train_a, tensor, nothing> x;
    tensor h;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = k.own(base.template forward<D>(x, c.base, k));
    if (empty())
      return y;
    tensor h = k.make(x.rows, rank());
    B::product_nt(h, drop.apply(x, k), a, 1, false);
    if constexpr (Form.gating)
      h = gate.template apply<D>(x, std::move(h), c.gate, k);
    B::product_nt(y, h, b, scale(), true);
    if constexpr (Form.bias) {
      tensor row = k.copy(bias);
      B::scale(row, scale());
      B::add_row(y, row);
    }
    if constexpr (D.params == params::all) {
      if constexpr (Form.train_a)
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
    tensor dh, dx_of_gate;
    if constexpr (D.input || (trains && Form.train_a) || (D.trains() && Form.gating)) {
      dh = k.make(dy.rows, rank());
      B::product_nn(dh, dy, b, scale(), false);
    }
    if constexpr (trains)
      B::product_tn(g->b, dy, c.h, scale(), true);
    if constexpr (trains && Form.bias) {
      tensor row = k.make(1, dy.cols);
      B::fill(row, 0);
      B::sum_rows(row, dy);
      B::add_scaled(g->bias, row, scale());
    }
    if constexpr (Form.gating) {
      auto d = gate.template backward<D>(dh, c.gate, part<D>(g, &gradient::gate), k);
      if constexpr (D.input)
        dx_of_gate = std::move(d);
    }
    if constexpr (trains && Form.train_a)
      B::product_tn(g->a, dh, drop.apply(c.x, k), 1, true);
    if constexpr (D.input) {
      tensor dx = k.own(
          base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k));
      if (drop.acts(k)) {
        tensor du = k.make(dx.rows, dx.cols);
        B::product_nn(du, dh, a, 1, false);
        B::add(dx, drop.apply(std::move(du), k));
      } else {
        B::product_nn(dx, dh, a, 1, true);
      }
      if constexpr (Form.gating)
        B::add(dx, dx_of_gate);
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
            {"b_rate", b_rate}};
  }
  // Throws shape_error for another rank than the static one, input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    if (const auto r = n.count("rank", optional ? 0 : 1)) {
      if (Rank != dynamic)
        expect_size("lora.rank (a static rank is part of the type)", Rank, *r);
      resize(*r);
    }
    n.take("alpha", alpha);
    scaling = scaling_from(n, scaling);
    n.take("b_rate", b_rate);
    n.take_rate("dropout", drop.rate);
  }
  template <class F>
  void rate_factors(F&& f) const {
    f(at::lora_b, b_rate);
  }

  // Told once by the model: the number under which this place draws its dropout masks.
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    draw_lora_a<B>(a, random);
    set_values<B>(b, [] { return 0; });
    if constexpr (Form.bias)
      set_values<B>(bias, [] { return 0; });
    if constexpr (Form.gating)
      gate.map.initialize_base(random, 0.02);
  }

  // pissa, olora: takes A and B out of the base's weight. Throws shape_error for a rank above its sizes.
  void start_from_base() {
    if constexpr (Form.init != lora_init::zero) {
      if (rank() > std::min(in(), out()))
        throw shape_error("lora.rank: expected at most " + std::to_string(std::min(in(), out())) +
                          ", found " + std::to_string(rank()));
      taken = lora_factors<B>::template of<Form.init>(base.weight, rank(), scale());
      B::copy(a, taken.a);
      B::copy(b, taken.b);
      parameter rest(out(), in());
      B::copy(rest, base.weight);
      B::product_nn(rest, b, a, -scale(), true);
      base.weight = rest;
    }
  }

  // W + s B A, b + s c.
  dense_form<B> as_dense() const
    requires(!Form.gating && has_dense_form<L>)
  {
    dense_form<B> d = dense_form_of(base);
    if (empty())
      return d;
    B::product_nn(d.weight, b, a, scale(), true);
    if constexpr (Form.bias) {
      if (d.bias.rows == 0)
        d.bias = parameter(1, out());
      B::add_scaled(d.bias, bias, scale());
    }
    return d;
  }

  // What a file holds: where A and B were taken out of W, the update of W itself, of rank 2 r,
  // W - s B₀ A₀ + s B A = W + s [B, -B₀] [A; A₀].
  decoration_numbers saved_numbers() const {
    decoration_numbers n = numbers();
    if (taken.a.rows > 0) {
      n.set("rank", static_cast<double>(2 * rank()));
      n.set("alpha", alpha * (scaling == lora_scaling::over_rank ? 2 : std::sqrt(2.0)));
    }
    return n;
  }
  template <class F>
  void saved_parts(F&& f) const {
    if (taken.a.rows > 0) {
      f(at::lora_a, taken.above(a));
      f(at::lora_b, taken.beside(b));
    }
  }

 private:
  bool empty() const { return Rank == dynamic && a.rows == 0; }
  void resize(index_t r) {
    const bool some = r > 0;
    a = parameter(r, some ? base.in() : 0);
    b = parameter(some ? base.out() : 0, r);
    if constexpr (Form.bias)
      bias = parameter(some ? 1 : 0, some ? base.out() : 0);
  }
};

template <class L, class... Rest>
lora_layer(L, lora, Rest&&...) -> lora_layer<L, dynamic>;

}  // namespace graft
