// SPDX-License-Identifier: MIT
// VeRA: a low-rank update whose random matrices are shared by all layers and never trained.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/common_weights.hpp>
#include <graft/tuning/times_row.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct vera_lambda_d_t {
  static constexpr std::string_view name = "vera.lambda_d";
  static constexpr bool decays = true;
};
struct vera_lambda_b_t {
  static constexpr std::string_view name = "vera.lambda_b";
  static constexpr bool decays = true;
};
struct vera_a_t {
  static constexpr std::string_view name = "vera.a";
  static constexpr bool decays = false;
  static constexpr bool shared = true;
};
struct vera_b_t {
  static constexpr std::string_view name = "vera.b";
  static constexpr bool decays = false;
  static constexpr bool shared = true;
};
inline constexpr vera_lambda_d_t vera_lambda_d{};
inline constexpr vera_lambda_b_t vera_lambda_b{};
inline constexpr vera_a_t vera_a{};
inline constexpr vera_b_t vera_b{};
}  // namespace at

template <dense_layer L>
struct vera_layer;

// | option          | meaning                                           | default |
// | rank            | r                                                 | 256     |
// | initial         | what λ_d starts at                                | 0.1     |
// | dropout         | rate on the branch's input while training         | 0       |
// | projection_seed | of the shared matrices, which no file holds       | 0       |
struct vera {
  int rank = 256;
  float initial = 0.1f;
  float dropout = 0;
  int projection_seed = 0;

  static constexpr std::string_view name = "vera";

  constexpr void check() const {
    if (rank < 1)
      throw "graft: vera.rank must be at least 1";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: vera.dropout must be at least 0 and below 1";
    if (projection_seed < 0)
      throw "graft: vera.projection_seed must be at least 0";
  }
  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", rank);
    f("initial", initial);
    f("dropout", dropout);
    f("projection_seed", projection_seed);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = dense_layer<L>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(
        sizeof(L) == 0,
        "graft: vera needs an affine layer, and none stands at this site (at::linear selects "
        "them all)");
  };
  template <dense_layer L, auto Spec>
  using apply = vera_layer<L>;
};

// y = f(x) + λ_b ∘ (B (λ_d ∘ (A drop(x)))) for every row;  λ_d [1, r], λ_b [1, out].
//
// A and B are one pair for all layers of a model (common_weights.hpp), A kept as [widest in, r] and
// B as [widest out, r]: a layer takes the first rows of either. They are uniform in ±√(6 / widest
// in) and ±√(6 / r); λ_b starts at zero, so a fresh layer computes exactly f. Keeps A drop(x) when
// asked for its parameters' gradients, nothing of its own otherwise. Kopiczko et al. 2024,
// arXiv:2310.11454.
template <dense_layer L>
struct vera_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using frozen_weight = typename B::frozen_weight;
  static constexpr bool affine = true;

  L base;
  parameter lambda_d, lambda_b;
  frozen_weight a, b;
  float initial = 0.1f;
  std::uint64_t projection_seed = 0;
  graft::dropout<B> drop;

  vera_layer() = default;
  // Without values in A and B, which all layers of a model get together.
  vera_layer(L layer, const vera& spec)
      : base(std::move(layer)),
        initial(spec.initial),
        projection_seed(static_cast<std::uint64_t>(spec.projection_seed)) {
    drop.rate = spec.dropout;
    resize(spec.rank);
  }
  // A layer that stands alone.
  vera_layer(L layer, const vera& spec, random_stream& random)
      : vera_layer(std::move(layer), spec) {
    share_weights(*this);
    initialize(random);
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return lambda_d.cols; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::vera_lambda_d, z.lambda_d...);
    f(at::vera_lambda_b, z.lambda_b...);
    f(at::vera_a, z.a...);
    f(at::vera_b, z.b...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = vera_layer<on_backend_t<L, To>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.drop...);
  }

  struct gradient {
    gradient_t<L> base;
    parameter lambda_d, lambda_b;
    nothing a, b;
  };

  template <demand D>
  struct cache {
    cache_t<L, D> base;
  };
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    cache_t<L, D> base;
    tensor h;  // A drop(x), [n, r]
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = k.own(base.template forward<D>(x, c.base, k));
    tensor h = k.make(x.rows, rank());
    B::product_nn(h, drop.apply(x, k), own_a(), 1, false);
    if constexpr (D.params == params::all)
      c.h = h;
    tensor u = k.make(x.rows, out());
    B::product_nt(u, times_row<B>(std::move(h), lambda_d, k), own_b(), 1, false);
    B::multiply_row(y, u, lambda_b, true);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr bool trains = D.params == params::all;
    tensor dz;  // of λ_d ∘ (A drop(x))
    if constexpr (trains || D.input) {
      dz = k.make(dy.rows, rank());
      B::product_nn(dz, times_row<B>(dy, lambda_b, k), own_b(), 1, false);
    }
    if constexpr (trains) {
      B::dot_columns(g->lambda_d, dz, c.h);
      // Σ dy ∘ (B z) over rows is the diagonal of (dyᵀ z) Bᵀ: B z is neither kept nor made again.
      tensor m = k.make(out(), rank());
      B::product_tn(m, dy, times_row<B>(std::move(c.h), lambda_d, k), 1, false);
      B::dot_rows(typename B::view(g->lambda_b.data, out(), 1), m, own_b(), 1, true);
    }
    if constexpr (D.input) {
      dz = times_row<B>(std::move(dz), lambda_d, k);
      tensor dx =
          k.own(base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k));
      if (drop.acts(k)) {
        tensor du = k.make(dx.rows, dx.cols);
        B::product_nt(du, dz, own_a(), 1, false);
        B::add(dx, drop.apply(std::move(du), k));
      } else {
        B::product_nt(dx, dz, own_a(), 1, true);
      }
      return dx;
    } else {
      if constexpr (reached<L>(D))
        base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
      return nothing{};
    }
  }

  static constexpr std::string_view method = vera::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()},
            {"dropout", drop.rate},
            {"projection_seed", static_cast<double>(projection_seed)}};
  }
  // Throws input_error for impossible numbers. A and B get their values of share_weights after
  // that.
  void renumber(const decoration_numbers& n) {
    if (const auto seed = n.count("projection_seed", 0))
      projection_seed = static_cast<std::uint64_t>(*seed);
    if (const auto r = n.count("rank", 1))
      resize(*r);
    n.take_rate("dropout", drop.rate);
  }

  template <class F>
  void common_weights(F&& f) {
    f(common_weight<B>{
        a, at::vera_a.name, in(), rank(), projection_seed,
        [](parameter& whole, random_stream& random) { fill_uniform(whole, whole.rows, random); }});
    f(common_weight<B>{
        b, at::vera_b.name, out(), rank(), projection_seed,
        [](parameter& whole, random_stream& random) { fill_uniform(whole, whole.cols, random); }});
  }

  // W + diag(λ_b) B diag(λ_d) A.
  dense_form<B> as_dense() const
    requires has_dense_form<L>
  {
    dense_form<B> d = dense_form_of(base);
    parameter scaled(out(), rank());
    B::multiply_row(scaled, own_b(), lambda_d, false);
    B::multiply_column(scaled, scaled, typename B::const_view(lambda_b.data, out(), 1), false);
    B::product_nt(d.weight, scaled, own_a(), 1, true);
    return d;
  }

  // Told once by the model: the number under which this place draws its dropout masks.
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream&) {
    B::fill(lambda_d, static_cast<typename B::scalar>(initial));
    B::fill(lambda_b, 0);
  }

 private:
  typename B::const_view own_a() const { return typename B::const_view(a).rows_of(0, in()); }
  typename B::const_view own_b() const { return typename B::const_view(b).rows_of(0, out()); }

  static void fill_uniform(parameter& p, index_t fan_in, random_stream& random) {
    const double bound = std::sqrt(6 / static_cast<double>(fan_in));
    set_values<B>(p, [&] { return random.uniform(-bound, bound); });
  }
  void resize(index_t r) {
    lambda_d = parameter(1, r);
    lambda_b = parameter(1, base.out());
    a = frozen_weight(base.in(), r);
    b = frozen_weight(base.out(), r);
  }
};

template <class L, class... Rest>
vera_layer(L, vera, Rest&&...) -> vera_layer<L>;

}  // namespace graft
