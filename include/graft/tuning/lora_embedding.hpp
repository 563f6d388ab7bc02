// SPDX-License-Identifier: MIT
// A low-rank update of a table.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/lora_spec.hpp>

#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct lora_table_a_t {
  static constexpr std::string_view name = "lora.embedding_a";
  static constexpr bool decays = true;
};
struct lora_table_b_t {
  static constexpr std::string_view name = "lora.embedding_b";
  static constexpr bool decays = true;
};
inline constexpr lora_table_a_t lora_table_a{};
inline constexpr lora_table_b_t lora_table_b{};
}  // namespace at

// A layer that looks up rows by their ids.
template <class L>
concept table_layer = layer_over<L, std::span<const std::int32_t>> && requires(const L& l) {
  { l.entries() } -> std::convertible_to<index_t>;
  { l.width() } -> std::convertible_to<index_t>;
};

// y[i] = f(ids)[i] + s · A[ids[i]] Bᵀ;  A [entries, r], B [width, r], s = α / r or α / √r.
//
// A is the transpose of PEFT's lora_embedding_A, so that an entry's numbers lie together. A starts
// at zero, so a fresh layer computes exactly f, and B normal with deviation 1; there is no dropout. Of rank 0 it is f itself.
// Keeps the ids (a view: they must outlive the step) when asked for its parameters' gradients. Hu
// et al. 2021, arXiv:2106.09685.
template <table_layer L, int Rank = dynamic>
struct lora_table {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  using ids = std::span<const std::int32_t>;

  L base;
  parameter a, b;
  double alpha = 16;
  lora_scaling scaling = lora_scaling::over_rank;
  double b_rate = 1;
  bool optional = false;  // a rank of 0 will do

  lora_table() = default;
  lora_table(L layer, const lora& spec)
      : base(std::move(layer)),
        alpha(spec.alpha),
        scaling(spec.scaling),
        b_rate(spec.b_rate),
        optional(spec.optional()) {
    resize(Rank == dynamic ? spec.first_rank() : Rank);
  }
  lora_table(L layer, const lora& spec, random_stream& random)
      : lora_table(std::move(layer), spec) {
    initialize(random);
  }

  index_t entries() const { return base.entries(); }
  index_t width() const { return base.width(); }
  index_t rank() const { return Rank == dynamic ? b.cols : Rank; }
  scalar scale() const { return static_cast<scalar>(factor_of(scaling, alpha, rank())); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::lora_table_a, z.a...);
    f(at::lora_table_b, z.b...);
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
    ids rows;
  };

  template <demand D>
  tensor forward(const ids& rows, cache<D>& c, const context<B>& k) const {
    tensor y = k.own(base.template forward<D>(rows, c.base, k));
    if (empty())
      return y;
    B::product_nt(y, looked_up(rows, k), b, scale(), true);
    if constexpr (D.params == params::all)
      c.rows = rows;
    return y;
  }

  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (D.params == params::all)
      if (!empty()) {
        tensor h = looked_up(c.rows, k);
        B::product_tn(g->b, dy, h, scale(), true);
        B::product_nn(h, dy, b, scale(), false);  // now of A's rows
        B::scatter_add(g->a, h, c.rows);
      }
    if constexpr (reached<L>(D))
      base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
    return {};
  }

  static constexpr std::string_view method = lora::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()}, {"alpha", alpha}, {"over_root", scaling == lora_scaling::over_root}, {"b_rate", b_rate}};
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
  }
  template <class F>
  void rate_factors(F&& f) const {
    f(at::lora_table_b, b_rate);
  }
  // W + s A Bᵀ.
  dense_form<B> as_dense() const
    requires has_dense_form<L>
  {
    dense_form<B> d = dense_form_of(base);
    if (!empty())
      B::product_nt(d.weight, a, b, scale(), true);
    return d;
  }

  void initialize(random_stream& random) {
    set_values<B>(a, [] { return 0; });
    set_values<B>(b, [&] { return random.normal(); });
  }

 private:
  tensor looked_up(const ids& rows, const context<B>& k) const {
    tensor h = k.make(static_cast<index_t>(rows.size()), rank());
    B::gather(h, a, rows, false);
    return h;
  }
  bool empty() const { return Rank == dynamic && b.cols == 0; }
  void resize(index_t r) {
    a = parameter(r > 0 ? base.entries() : 0, r);
    b = parameter(r > 0 ? base.width() : 0, r);
  }
};

template <table_layer L, int Rank>
struct lora_on<L, Rank> {
  using type = lora_table<L, Rank>;
};

template <class L, class... Rest>
lora_table(L, lora, Rest&&...) -> lora_table<L, dynamic>;

}  // namespace graft
