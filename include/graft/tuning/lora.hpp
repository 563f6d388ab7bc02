// SPDX-License-Identifier: MIT
// LoRA: a low-rank update of an affine layer.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

namespace graft {

// A size that a file or a run-time option decides.
inline constexpr int dynamic = std::numeric_limits<int>::min();

namespace at {
struct lora_a_t {
  static constexpr std::string_view name = "lora.a";
  static constexpr bool decays = true;
};
struct lora_b_t {
  static constexpr std::string_view name = "lora.b";
  static constexpr bool decays = true;
};
inline constexpr lora_a_t lora_a{};
inline constexpr lora_b_t lora_b{};
}  // namespace at

// What the update is multiplied with: α / r (Hu et al. 2021), or α / √r (rsLoRA, Kalajdzievski 2023,
// arXiv:2312.03732).
enum class lora_scaling : unsigned char { over_rank, over_root };

template <dense_layer L, int Rank>
struct lora_layer;

// | option   | meaning                                                        | default   |
// | rank     | r, at least 1, or `dynamic`: then `start_rank` until a file says | 8       |
// | alpha    | α                                                              | 16        |
// | dropout  | rate on the branch's input while training                      | 0         |
// | scaling  | α / r or α / √r                                                | over_rank |
struct lora {
  int rank = 8;
  float alpha = 16;
  float dropout = 0;
  lora_scaling scaling = lora_scaling::over_rank;
  int start_rank = 8;

  static constexpr std::string_view name = "lora";

  constexpr void check() const {
    if (rank < 1 && rank != dynamic)
      throw "graft: lora.rank must be at least 1 (or graft::dynamic)";
    if (start_rank < 1)
      throw "graft: lora.start_rank must be at least 1";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: lora.dropout must be at least 0 and below 1";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", first_rank());
    f("alpha", alpha);
    f("dropout", dropout);
    f("scaling", scaling == lora_scaling::over_rank ? std::string_view("alpha/rank")
                                                    : std::string_view("alpha/sqrt(rank)"));
  }
  constexpr int first_rank() const { return rank == dynamic ? start_rank : rank; }

  // lora goes around affine layers.
  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (requires { requires L::affine; })
      return dense_layer<L>;
    else
      return false;
  }();
  template <class L, class Site, auto Spec>
  struct misfit {
    static constexpr bool join = join_layer<L>;
    static constexpr bool adapted = requires { typename L::branch; };
    static constexpr bool other = !join && !adapted;
    static_assert(!join,
                  "graft: lora needs an affine layer, and this site is a join (a bottleneck with "
                  "placement::after goes there)");
    static_assert(!adapted,
                  "graft: lora needs an affine layer, and a bottleneck is wrapped around this one "
                  "(put the lora rule before the bottleneck rule)");
    static_assert(!other,
                  "graft: lora needs an affine layer, and none stands at this site (at::linear "
                  "selects them all)");
  };
  template <dense_layer L, auto Spec>
  using apply = lora_layer<L, Spec.rank>;
};

// y = f(x) + s · drop(x) Aᵀ Bᵀ;  A [r, in], B [out, r], s = α / r or α / √r.
//
// A starts uniform in ±1/√in, B at zero, so a fresh layer computes exactly f; W + s B A is never formed.
// Keeps x and drop(x) Aᵀ when asked for its parameters' gradients, nothing of its own otherwise.
// Itself affine, so decorations of affine layers nest in each other.
// Hu et al. 2021, arXiv:2106.09685.
template <dense_layer L, int Rank = dynamic>
struct lora_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  static constexpr bool affine = true;

  L base;
  parameter a, b;
  float alpha = 16;
  lora_scaling scaling = lora_scaling::over_rank;
  graft::dropout<B> drop;

  lora_layer() = default;
  lora_layer(L layer, const lora& spec) : base(std::move(layer)) {
    resize(Rank == dynamic ? spec.first_rank() : Rank);
    alpha = spec.alpha;
    scaling = spec.scaling;
    drop.rate = spec.dropout;
  }
  lora_layer(L layer, const lora& spec, random_stream& random)
      : lora_layer(std::move(layer), spec) {
    initialize(random);
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return Rank == dynamic ? a.rows : Rank; }
  scalar scale() const {
    const double r = static_cast<double>(rank());
    return static_cast<scalar>(alpha / (scaling == lora_scaling::over_rank ? r : std::sqrt(r)));
  }

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
    tensor h = k.make(x.rows, rank());
    B::product_nt(h, drop.apply(x, k), a, 1, false);
    B::product_nt(y, h, b, scale(), true);
    if constexpr (D.params == params::all) {
      c.x = x;
      c.h = std::move(h);
    }
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr bool trains = D.params == params::all;
    tensor dh;
    if constexpr (trains || D.input) {
      dh = k.make(dy.rows, rank());
      B::product_nn(dh, dy, b, scale(), false);
    }
    if constexpr (trains) {
      B::product_tn(g->b, dy, c.h, scale(), true);
      B::product_tn(g->a, dh, drop.apply(c.x, k), 1, true);
    }
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
      return dx;
    } else {
      if constexpr (reached<L>(D))
        base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k);
      return nothing{};
    }
  }

  static constexpr std::string_view method = lora::name;
  decoration_numbers numbers() const {
    decoration_numbers n;
    n.rank = static_cast<int>(rank());
    n.alpha = alpha;
    n.dropout = static_cast<float>(drop.rate);
    return n;
  }
  // Throws shape_error for another rank than the static one, input_error for a rate that is none.
  void renumber(const decoration_numbers& n) {
    if (n.rank) {
      if (Rank != dynamic)
        expect_size("lora.rank (a static rank is part of the type)", Rank, *n.rank);
      if (*n.rank < 1)
        throw shape_error("lora.rank: expected at least 1, found " + std::to_string(*n.rank));
      resize(*n.rank);
    }
    alpha = n.alpha.value_or(alpha);
    if (n.dropout) {
      if (!(*n.dropout >= 0 && *n.dropout < 1))
        throw input_error("lora.dropout: expected at least 0 and below 1, found " +
                          std::to_string(*n.dropout));
      drop.rate = *n.dropout;
    }
  }

  // Told once by the model: the number under which this place draws its dropout masks.
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    const double bound = 1 / std::sqrt(static_cast<double>(in()));
    for (index_t i = 0; i < a.size(); ++i)
      a.data[i] = static_cast<scalar>(random.uniform(-bound, bound));
    for (index_t i = 0; i < b.size(); ++i)
      b.data[i] = 0;
  }

 private:
  void resize(index_t r) {
    a = parameter(r, base.in());
    b = parameter(base.out(), r);
  }
};

template <class L, class... Rest>
lora_layer(L, lora, Rest&&...) -> lora_layer<L, dynamic>;

}  // namespace graft
