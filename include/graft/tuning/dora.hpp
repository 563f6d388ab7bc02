// SPDX-License-Identifier: MIT
// DoRA: a low-rank update of a weight's directions, and trained lengths of its rows.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/dense_weight.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct dora_a_t {
  static constexpr std::string_view name = "dora.a";
  static constexpr bool decays = true;
};
struct dora_b_t {
  static constexpr std::string_view name = "dora.b";
  static constexpr bool decays = true;
};
struct dora_magnitude_t {
  static constexpr std::string_view name = "dora.magnitude";
  static constexpr bool decays = true;
};
inline constexpr dora_a_t dora_a{};
inline constexpr dora_b_t dora_b{};
inline constexpr dora_magnitude_t dora_magnitude{};
}  // namespace at

template <readable_affine L, int Rank>
struct dora_layer;

// | option     | meaning                                                          | default   |
// | rank       | r, at least 1, or `dynamic`: then `start_rank` until a file says | 8         |
// | alpha      | α                                                                | 16        |
// | dropout    | rate on the input of what is tuned while training                | 0         |
// | scaling    | α / r or α / √r                                                  | over_rank |
// | start_rank | r of a dynamic rank                                              | 8         |
struct dora {
  int rank = 8;
  float alpha = 16;
  float dropout = 0;
  lora_scaling scaling = lora_scaling::over_rank;
  int start_rank = 8;

  static constexpr std::string_view name = "dora";

  constexpr void check() const {
    if (rank < 1 && rank != dynamic)
      throw "graft: dora.rank must be at least 1 (or graft::dynamic)";
    if (start_rank < 1)
      throw "graft: dora.start_rank must be at least 1";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: dora.dropout must be at least 0 and below 1";
  }
  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", first_rank());
    f("alpha", alpha);
    f("dropout", dropout);
    f("scaling", name_of(scaling));
  }
  constexpr int first_rank() const { return rank == dynamic ? start_rank : rank; }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = readable_affine<L>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool affine = dense_layer<L>;
    static_assert(!affine,
                  "graft: dora scales the rows of a frozen weight, and this layer is trained, "
                  "decorated already or rounds its inputs");
    static_assert(affine,
                  "graft: dora needs a frozen affine layer, and none stands at this site (at::linear "
                  "selects them all)");
  };
  template <readable_affine L, auto Spec>
  using apply = dora_layer<L, Spec.rank>;
};

// y = W x + b + (g - 1) ∘ W x̃ + g ∘ s B A x̃ with x̃ = drop(x), g = m / n, n the lengths of the rows of
// W + s B A, taken as constants; without dropout y = g ∘ (W x + s B A x) + b. A [r, in], B [out, r],
// m [1, out]; s = α / r or α / √r.
//
// m starts as the lengths of W's rows and B at zero, so a fresh layer computes the base. The update is
// never formed: n² = |w|² + 2 s b·(A w) + s² b (A Aᵀ) bᵀ, row by row. Keeps x, A x̃ and W x̃ + s B A x̃ when
// asked for its parameters' gradients. Affine, but not for what changes the weight.
// Liu et al. 2024, arXiv:2402.09353.
template <readable_affine L, int Rank = dynamic>
struct dora_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  static constexpr bool affine = true;

  L base;
  parameter a, b, magnitude;
  double alpha = 16;
  lora_scaling scaling = lora_scaling::over_rank;
  graft::dropout<B> drop;
  parameter held;  // n², where hold_lengths() was called

  dora_layer() = default;
  dora_layer(L layer, const dora& spec)
      : base(std::move(layer)), magnitude(1, base.out()), alpha(spec.alpha), scaling(spec.scaling) {
    resize(Rank == dynamic ? spec.first_rank() : Rank);
    drop.rate = spec.dropout;
  }
  dora_layer(L layer, const dora& spec, random_stream& random)
      : dora_layer(std::move(layer), spec) {
    initialize(random);
    start_from_base();
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return Rank == dynamic ? a.rows : Rank; }
  scalar scale() const { return static_cast<scalar>(factor_of(scaling, alpha, rank())); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::dora_a, z.a...);
    f(at::dora_b, z.b...);
    f(at::dora_magnitude, z.magnitude...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = dora_layer<on_backend_t<L, To>, Rank>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.alpha...);
    f(z.scaling...);
    f(z.drop...);
    f(z.held...);
  }

  struct gradient {
    nothing base;
    parameter a, b, magnitude;
  };

  template <demand D>
  struct cache {};
  template <demand D>
    requires(D.input && D.params != params::all)
  struct cache<D> {
    tensor gain;
  };
  template <demand D>
    requires(D.params == params::all)
  struct cache<D> {
    tensor x, h, u, gain, lengths;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    const auto w = dense_weight(base, k);
    tensor lengths = held.rows > 0 ? k.copy(held) : squared_lengths(w, k);
    tensor gain = k.make_exact(1, out());
    B::divide_by_root(gain, magnitude, lengths);

    const tensor input = drop.apply(x, k);
    tensor u = k.make(x.rows, out());  // W x̃, then W x̃ + s B A x̃
    B::product_nt(u, input, w, 1, false);
    tensor y;
    if (drop.acts(k)) {
      y = k.make(x.rows, out());
      B::product_nt(y, x, w, 1, false);
      B::add_scaled(y, u, -1);
    }
    tensor h = k.make(x.rows, rank());
    B::product_nt(h, input, a, 1, false);
    B::product_nt(u, h, b, scale(), true);
    const bool has_rest = y.data != nullptr;
    if (!has_rest)
      y = k.make(x.rows, out());
    B::multiply_row(y, u, gain, has_rest);
    if (const auto bias = dense_bias(base); bias.rows > 0)
      B::add_row(y, bias);
    if constexpr (D.params == params::all) {
      c.x = x;
      c.h = std::move(h);
      c.u = std::move(u);
      c.lengths = std::move(lengths);
    }
    if constexpr (D.any() && requires { c.gain; })
      c.gain = std::move(gain);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr bool trains = D.params == params::all;
    if constexpr (!trains && !D.input) {
      return nothing{};
    } else {
      if constexpr (trains) {
        tensor dm = k.make(1, out()), unit = k.make(1, out());
        B::fill(dm, 0);
        B::dot_columns(dm, dy, c.u);
        B::divide_by_root(unit, dm, c.lengths);
        B::add(g->magnitude, unit);
      }
      tensor du = k.make(dy.rows, out()), dh = k.make(dy.rows, rank());
      B::multiply_row(du, dy, c.gain, false);
      B::product_nn(dh, du, b, scale(), false);
      if constexpr (trains) {
        B::product_tn(g->b, du, c.h, scale(), true);
        B::product_tn(g->a, dh, drop.apply(c.x, k), 1, true);
      }
      if constexpr (D.input) {
        const auto w = dense_weight(base, k);
        tensor dx = k.make(dy.rows, in());
        if (!drop.acts(k)) {
          B::product_nn(dx, du, w, 1, false);
          B::product_nn(dx, dh, a, 1, true);
          return dx;
        }
        B::add_scaled(du, dy, -1);
        B::product_nn(dx, du, w, 1, false);
        B::product_nn(dx, dh, a, 1, true);
        dx = drop.apply(std::move(dx), k);
        B::product_nn(dx, dy, w, 1, true);
        return dx;
      } else {
        return nothing{};
      }
    }
  }

  static constexpr std::string_view method = dora::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()},
            {"alpha", alpha},
            {"over_root", scaling == lora_scaling::over_root},
            {"dropout", drop.rate}};
  }
  // Throws shape_error for another rank than the static one, input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    if (const auto r = n.count("rank", 1)) {
      if (Rank != dynamic)
        expect_size("dora.rank (a static rank is part of the type)", Rank, *r);
      resize(*r);
    }
    n.take("alpha", alpha);
    scaling = scaling_from(n, scaling);
    n.take_rate("dropout", drop.rate);
  }
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(in()));
    set_values<B>(a, [&] { return random.uniform(-bound, bound); });
    set_values<B>(b, [] { return 0; });
  }
  // m / ‖W + s B A‖ ∘ (W + s B A).
  dense_form<B> as_dense() const
    requires has_dense_form<L>
  {
    dense_form<B> d = dense_form_of(base);
    B::product_nn(d.weight, b, a, scale(), true);
    parameter gain(1, out());
    const typename B::view column(gain.data, out(), 1);
    B::dot_rows(column, d.weight, d.weight, 1, false);
    B::divide_by_root(gain, magnitude, gain);
    B::multiply_column(d.weight, d.weight, column, false);
    return d;
  }

  // m = the lengths of the rows.
  void start_from_base() {
    hold_lengths();
    B::divide_by_root(magnitude, held, held);  // n² / n
    held = {};
  }
  // Computes n once and for all, for a model whose A and B no longer change.
  void hold_lengths() {
    typename B::workspace memory;
    const layout none;
    held = parameter(1, out());
    const context<B> k{memory, none};
    B::copy(held, squared_lengths(dense_weight(base, k), k));
  }

 private:
  void resize(index_t r) {
    a = parameter(r, base.in());
    b = parameter(base.out(), r);
  }

  // [1, out]: the squares of the lengths of the rows of W + s B A.
  tensor squared_lengths(typename B::const_view w, const context<B>& k) const {
    tensor n = k.make_exact(1, out());
    const typename B::view column = n.shaped(out(), 1);
    B::dot_rows(column, w, w, 1, false);
    tensor wa = k.make(out(), rank()), aa = k.make(rank(), rank());
    B::product_nt(wa, w, a, 2 * scale(), false);
    B::product_nt(aa, a, a, scale() * scale(), false);
    B::product_nn(wa, b, aa, 1, true);
    B::dot_rows(column, wa, b, 1, true);
    return n;
  }
};

template <class L, class... Rest>
dora_layer(L, dora, Rest&&...) -> dora_layer<L, dynamic>;

}  // namespace graft
