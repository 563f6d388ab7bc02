// SPDX-License-Identifier: MIT
// AdaLoRA: low-rank updates that share one budget of ranks.
#pragma once

#include <graft/core/dense_form.hpp>
#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/tuning/rank_budget.hpp>
#include <graft/tuning/step_hooks.hpp>
#include <graft/tuning/times_row.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>

namespace graft {

namespace at {
struct adalora_a_t {
  static constexpr std::string_view name = "adalora.a";
  static constexpr bool decays = true;
};
struct adalora_e_t {
  static constexpr std::string_view name = "adalora.e";
  static constexpr bool decays = true;
};
struct adalora_b_t {
  static constexpr std::string_view name = "adalora.b";
  static constexpr bool decays = true;
};
inline constexpr adalora_a_t adalora_a{};
inline constexpr adalora_e_t adalora_e{};
inline constexpr adalora_b_t adalora_b{};
}  // namespace at

template <dense_layer L>
struct adalora_layer;

// | option        | meaning                                                           | default |
// | rank          | r of every layer at first                                         | 12      |
// | target_rank   | of a layer on average at last                                     | 8       |
// | alpha         | α                                                                 | 16      |
// | dropout       | rate on the branch's input while training                         | 0       |
// | warmup        | steps before ranks are taken away                                 | 0       |
// | settle        | steps at the end, in which the ranks that are left do not change  | 0       |
// | interval      | steps from one allocation to the next                             | 1       |
// | beta1, beta2  | smoothing of importance and of its uncertainty                    | 0.85    |
// | orthogonality | weight of the penalty                                             | 0.5     |
// The budget is that of all adalora layers of a network; the numbers that say how it shrinks are
// those of its first layer.
struct adalora {
  int rank = 12;
  int target_rank = 8;
  float alpha = 16;
  float dropout = 0;
  int warmup = 0;
  int settle = 0;
  int interval = 1;
  float beta1 = 0.85f;
  float beta2 = 0.85f;
  float orthogonality = 0.5f;

  static constexpr std::string_view name = "adalora";

  constexpr void check() const {
    if (rank < 1)
      throw "graft: adalora.rank must be at least 1";
    if (target_rank < 1 || target_rank > rank)
      throw "graft: adalora.target_rank must be at least 1 and at most adalora.rank";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: adalora.dropout must be at least 0 and below 1";
    if (warmup < 0 || settle < 0)
      throw "graft: adalora.warmup and adalora.settle must be at least 0";
    if (interval < 1)
      throw "graft: adalora.interval must be at least 1";
    if (!(beta1 >= 0 && beta1 < 1) || !(beta2 >= 0 && beta2 < 1))
      throw "graft: adalora.beta1 and adalora.beta2 must be at least 0 and below 1";
    if (!(orthogonality >= 0))
      throw "graft: adalora.orthogonality must be at least 0";
  }
  constexpr bool row_by_row() const { return true; }
  template <class F>
  constexpr void describe(F&& f) const {
    f("rank", rank);
    f("target_rank", target_rank);
    f("alpha", alpha);
    f("dropout", dropout);
    f("warmup", warmup);
    f("settle", settle);
    f("interval", interval);
    f("beta1", beta1);
    f("beta2", beta2);
    f("orthogonality", orthogonality);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = dense_layer<L>;
  template <class Site, auto Spec>
  static constexpr bool merges = true;
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(sizeof(L) == 0,
                  "graft: adalora needs an affine layer, and none stands at this site (at::linear "
                  "selects them all)");
  };
  template <dense_layer L, auto Spec>
  using apply = adalora_layer<L>;

  template <class Network, class Gradient>
  static void after_step(Network& network, const Gradient& gradient, const training_step& step) {
    allocate_ranks(network, gradient, step);
  }
};

// y = f(x) + s · (e ∘ drop(x) Aᵀ) Bᵀ;  A [r, in], e [1, r], B [out, r], s = α / (r + 10⁻⁵).
//
// A and B start normal with deviation 0.02, e at zero, so a fresh layer computes exactly f. The
// mean of |A Aᵀ − 1| and |Bᵀ B − 1| over the layers of the network is added to the loss. A rank
// that was taken away has its number in e at zero and may come back. Keeps x and drop(x) Aᵀ when
// asked for its parameters' gradients, nothing of its own otherwise. Zhang et al. 2023,
// arXiv:2303.10512.
template <dense_layer L>
struct adalora_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using parameter = typename B::parameter;
  using scalar = typename B::scalar;
  static constexpr bool affine = true;

  L base;
  parameter a, e, b;
  float alpha = 16, orthogonality = 0.5f;
  rank_schedule schedule;
  graft::dropout<B> drop;
  rank_importance<scalar> importance;

  adalora_layer() = default;
  adalora_layer(L layer, const adalora& spec)
      : base(std::move(layer)),
        alpha(spec.alpha),
        orthogonality(spec.orthogonality),
        schedule{spec.target_rank, spec.warmup, spec.settle,
                 spec.interval,    spec.beta1,  spec.beta2} {
    drop.rate = spec.dropout;
    resize(spec.rank);
  }
  adalora_layer(L layer, const adalora& spec, random_stream& random)
      : adalora_layer(std::move(layer), spec) {
    initialize(random);
  }

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }
  index_t rank() const { return a.rows; }
  scalar scale() const { return static_cast<scalar>(alpha / (static_cast<double>(rank()) + 1e-5)); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
    f(at::adalora_a, z.a...);
    f(at::adalora_e, z.e...);
    f(at::adalora_b, z.b...);
  }
  template <backend To>
    requires movable_to<L, To>
  using on_backend = adalora_layer<on_backend_t<L, To>>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.alpha...);
    f(z.drop...);
  }

  struct gradient {
    gradient_t<L> base;
    parameter a, e, b;
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
    if constexpr (D.params == params::all) {
      c.x = x;
      c.h = h;
    }
    B::product_nt(y, times_row<B>(std::move(h), e, k), b, scale(), true);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    constexpr bool trains = D.params == params::all;
    tensor dh;
    if constexpr (trains || D.input) {
      dh = k.make(dy.rows, rank());
      B::product_nn(dh, dy, b, scale(), false);
      if constexpr (trains)
        B::dot_columns(g->e, dh, c.h);
      dh = times_row<B>(std::move(dh), e, k);
    }
    if constexpr (trains) {
      B::product_tn(g->b, dy, times_row<B>(std::move(c.h), e, k), scale(), true);
      B::product_tn(g->a, dh, drop.apply(c.x, k), 1, true);
    }
    if constexpr (D.input) {
      tensor dx =
          k.own(base.template backward<D>(std::move(dy), c.base, part<D>(g, &gradient::base), k));
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

  // This layer's part of the penalty, `alike` being the layers over which it is a mean.
  double penalize(gradient& g, index_t alike) const {
    const double weight = orthogonality / (2.0 * static_cast<double>(alike));
    parameter p(rank(), rank());
    B::product_nt(p, a, a, 1, false);
    const double of_a = distance_from_one(p);
    if (of_a > 0)
      B::product_nn(g.a, p, a, static_cast<scalar>(2 * weight / of_a), true);
    B::product_tn(p, b, b, 1, false);
    const double of_b = distance_from_one(p);
    if (of_b > 0)
      B::product_nn(g.b, b, p, static_cast<scalar>(2 * weight / of_b), true);
    return weight * (of_a + of_b);
  }

  static constexpr std::string_view method = adalora::name;
  decoration_numbers numbers() const {
    return {{"rank", rank()},
            {"target_rank", schedule.target_rank},
            {"alpha", alpha},
            {"dropout", drop.rate},
            {"warmup", schedule.warmup},
            {"settle", schedule.settle},
            {"interval", schedule.interval},
            {"beta1", schedule.beta1},
            {"beta2", schedule.beta2},
            {"orthogonality", orthogonality}};
  }
  // Throws input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    if (const auto r = n.count("rank", 1))
      resize(*r);
    schedule.target_rank = n.count("target_rank", 1).value_or(schedule.target_rank);
    schedule.warmup = n.count("warmup", 0).value_or(schedule.warmup);
    schedule.settle = n.count("settle", 0).value_or(schedule.settle);
    schedule.interval = n.count("interval", 1).value_or(schedule.interval);
    n.take_rate("beta1", schedule.beta1);
    n.take_rate("beta2", schedule.beta2);
    n.take("alpha", alpha);
    n.take("orthogonality", orthogonality);
    n.take_rate("dropout", drop.rate);
  }

  template <class F>
  void training_memory(F&& f) {
    importance.for_each_memory(f);
  }

  // W + s B diag(e) A.
  dense_form<B> as_dense() const
    requires has_dense_form<L>
  {
    dense_form<B> d = dense_form_of(base);
    parameter scaled(out(), rank());
    B::multiply_row(scaled, b, e, false);
    B::product_nn(d.weight, scaled, a, scale(), true);
    return d;
  }

  // Told once by the model: the number under which this place draws its dropout masks.
  void placed(std::uint32_t place) { drop.place = place; }

  void initialize(random_stream& random) {
    set_values<B>(a, [&] { return 0.02 * random.normal(); });
    set_values<B>(e, [] { return 0; });
    set_values<B>(b, [&] { return 0.02 * random.normal(); });
  }

 private:
  // Makes p − 1 of p and returns its norm.
  static double distance_from_one(parameter& p) {
    auto numbers = B::on_host(p);
    for (index_t i = 0; i < p.rows; ++i)
      numbers[static_cast<std::size_t>(i * p.cols + i)] -= 1;
    B::from_host(p, numbers);
    return std::sqrt(B::squared_norm(p));
  }
  void resize(index_t r) {
    a = parameter(r, base.in());
    e = parameter(1, r);
    b = parameter(base.out(), r);
  }
};

template <class L, class... Rest>
adalora_layer(L, adalora, Rest&&...) -> adalora_layer<L>;

}  // namespace graft
