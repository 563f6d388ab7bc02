// SPDX-License-Identifier: MIT
// AdapterFusion: attention over the outputs of frozen adapters.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/dropout.hpp>
#include <graft/layer/initial.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/bottleneck_join.hpp>
#include <graft/tuning/bottleneck_layer.hpp>
#include <graft/tuning/composition/members.hpp>
#include <graft/tuning/frozen.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

namespace at {
struct fusion_query_t {
  static constexpr std::string_view name = "fusion.query";
};
struct fusion_key_t {
  static constexpr std::string_view name = "fusion.key";
};
struct fusion_value_t {
  static constexpr std::string_view name = "fusion.value";
};
inline constexpr fusion_query_t fusion_query{};
inline constexpr fusion_key_t fusion_key{};
inline constexpr fusion_value_t fusion_value{};
}  // namespace at

template <class Branch, int N>
struct fused_adapters;

namespace compose {

// | option         | meaning                                                       | default      |
// | adapters       | how many, called a, b, c, …                                   | 2            |
// | each           | what each of them is, and where                               | bottleneck{} |
// | value          | is there a value matrix (AdapterHub's "dynamic" and "static") | true         |
// | regularization | λ: the loss gets λ Σ (V − 1)² while training                  | 0.01         |
// | dropout        | rate on the scores while training                             | 0            |
struct fuse {
  int adapters = 2;
  bottleneck each{};
  bool value = true;
  double regularization = 0.01;
  float dropout = 0;

  static constexpr std::string_view name = "fuse";

  constexpr void check() const {
    detail::check_composition(adapters, each);
    if (!(regularization >= 0))
      throw "graft: fuse.regularization must be at least 0";
    if (!(dropout >= 0 && dropout < 1))
      throw "graft: fuse.dropout must be at least 0 and below 1";
  }
  constexpr bool row_by_row() const { return each.row_by_row(); }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    f("value", value);
    f("regularization", regularization);
    each.describe(f);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.each> {};
  template <class L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type =
        typename here::template with<fused_adapters<typename here::adapter, Spec.adapters>>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace compose

// y = V Σ p_i u_i + r,  p = softmax over i of q · (K u_i + b'),  q = Q x + b,  u_i = A_i(x).
// Q, K, V [width, width], one row x at a time; V is missing (1) in static fusion.
//
// The adapters are frozen: they learned alone. q · (K u_i) is computed as (Kᵀ q) · u_i and V is
// applied to the sum, so the cost does not grow by products with N; b' adds the same to all scores
// and moves nothing. Keeps x, q, Kᵀ q, p, every u_i, and the sum where there is a V. Pfeiffer et
// al. 2021, arXiv:2005.00247.
template <class Branch, int N>
struct fused_adapters {
  using backend_type = typename Branch::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;
  using spec = compose::fuse;
  using adapter_type = frozen<Branch>;

  detail::adapters<adapter_type, N> adapters;
  linear<B> query, key, value;
  double regularization = 0.01;
  graft::dropout<B> drop;

  fused_adapters() = default;
  fused_adapters(index_t in, index_t out, const spec& s)
      : query(in, out),
        key(out, out),
        value(s.value ? linear<B>(out, out, false) : linear<B>(0, 0, false)),
        regularization(s.regularization) {
    for (adapter_type& adapter : adapters)
      adapter = adapter_type(Branch(in, out, s.each));
    drop.rate = s.dropout;
  }
  bool dynamic() const { return value.out() > 0; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    detail::adapter_parts(f, z.adapters...);
    f(at::fusion_query, z.query...);
    f(at::fusion_key, z.key...);
    f(at::fusion_value, z.value...);
  }
  struct gradient {
    detail::adapters<nothing, N> adapters;
    gradient_t<linear<B>> query, key, value;
  };

  template <demand D>
  struct cache {};
  template <demand D>
    requires(D.any())
  struct cache<D> {
    detail::adapters<cache_t<adapter_type, D>, N> adapters;
    detail::adapters<tensor, N> u;
    cache_t<linear<B>, D> query;
    tensor q, kq, p, sum;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k,
                 const tensor* residual = nullptr) const {
    detail::adapters<tensor, N> u;
    tensor q, kq = k.make(x.rows, key.in()), p = k.make(x.rows, N);
    if constexpr (D.any())
      q = query.template forward<D>(x, c.query, k);
    else
      q = forward_alone(query, x, k);
    B::product_nn(kq, q, key.weight, 1, false);
    for (std::size_t i = 0; i < N; ++i) {
      if constexpr (D.any())
        u[i] = adapters[i].template forward<D>(x, c.adapters[i], k);
      else
        u[i] = forward_alone(adapters[i], x, k);
      B::dot_rows(p.columns(static_cast<index_t>(i), 1), kq, u[i], 1, false);
    }
    p = drop.apply(std::move(p), k);
    B::softmax(p, p);
    tensor sum = k.make(x.rows, key.in());
    for (std::size_t i = 0; i < N; ++i)
      B::multiply_column(sum, u[i], p.columns(static_cast<index_t>(i), 1), i > 0);
    tensor y = sum;
    if (dynamic()) {
      y = k.make(x.rows, value.out());
      B::product_nt(y, sum, value.weight, 1, false);
    }
    if constexpr (D.any()) {
      c.u = std::move(u);
      c.q = std::move(q);
      c.kq = std::move(kq);
      c.p = std::move(p);
      if (dynamic())
        c.sum = std::move(sum);
    }
    sum = {};
    if (residual)
      B::add(y, *residual);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k,
                tensor* residual = nullptr) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      if (residual)
        *residual = dy;
      if (dynamic()) {
        if constexpr (D.params == params::all)
          B::product_tn(g->value.weight, dy, c.sum, 1, true);
        tensor dsum = k.make(dy.rows, dy.cols);
        B::product_nn(dsum, dy, value.weight, 1, false);
        dy = std::move(dsum);
      }
      tensor ds = scores_backward(dy, c.u, c.p, k);
      tensor dkq = k.make(dy.rows, dy.cols);
      for (std::size_t i = 0; i < N; ++i)
        B::multiply_column(dkq, c.u[i], ds.columns(static_cast<index_t>(i), 1), i > 0);
      if constexpr (D.params == params::all)
        B::product_tn(g->key.weight, c.q, dkq, 1, true);
      tensor dq = k.make(dy.rows, key.out());
      B::product_nt(dq, dkq, key.weight, 1, false);
      auto dx = query.template backward<D>(std::move(dq), c.query, part<D>(g, &gradient::query), k);
      if constexpr (D.input) {
        for (std::size_t i = 0; i < N; ++i) {
          tensor du = k.make(dy.rows, dy.cols);
          const auto column = static_cast<index_t>(i);
          B::multiply_column(du, dy, c.p.columns(column, 1), false);
          B::multiply_column(du, c.kq, ds.columns(column, 1), true);
          B::add(dx, adapters[i].template backward<D>(std::move(du), c.adapters[i],
                                                      static_cast<nothing*>(nullptr), k));
        }
        return dx;
      } else {
        return nothing{};
      }
    }
  }

  void initialize(random_stream& random) {
    for (adapter_type& adapter : adapters)
      adapter.initialize(random);
    query.initialize_base(random);
    key.initialize_base(random);
    index_t n = 0;
    set_values<B>(value.weight, [&] { return on_diagonal(n++) ? 1 : 1e-6; });
  }
  void placed(std::uint32_t place) { drop.place = place; }

  // λ Σ (V − 1)²; adds its slope to g.
  double penalize(gradient& g) const {
    if (regularization == 0)
      return 0;
    std::vector<scalar> slopes = B::on_host(value.weight);
    double sum = 0;
    for (index_t n = 0; n < value.weight.size(); ++n) {
      scalar& v = slopes[static_cast<std::size_t>(n)];
      const double off = static_cast<double>(v) - (on_diagonal(n) ? 1.0 : 0.0);
      sum += off * off;
      v = static_cast<scalar>(2 * regularization * off);
    }
    const typename B::parameter slope(value.weight.rows, value.weight.cols);
    B::from_host(slope, slopes);
    B::add(g.value.weight, slope);
    return regularization * sum;
  }

 private:
  // Of V's elements, row after row.
  bool on_diagonal(index_t n) const { return n / value.weight.cols == n % value.weight.cols; }

  template <class L>
  static tensor forward_alone(const L& layer, const tensor& x, const context<B>& k) {
    constexpr demand none{false, params::none};
    cache_t<L, none> nothing_kept;
    return layer.template forward<none>(x, nothing_kept, k);
  }

  // The gradient of the scores, from that of the weighted sum:  p ∘ (dp − Σ p dp), where
  // dp_i = dsum · u_i.
  tensor scores_backward(const tensor& dsum, const detail::adapters<tensor, N>& u, const tensor& p,
                         const context<B>& k) const {
    tensor ds = k.make(p.rows, N), dot = k.make(p.rows, 1);
    for (std::size_t i = 0; i < N; ++i)
      B::dot_rows(ds.columns(static_cast<index_t>(i), 1), dsum, u[i], 1, false);
    B::dot_rows(dot, p, ds, -1, false);
    B::multiply(ds, p);
    B::multiply_column(ds, p, dot, true);
    return drop.apply(std::move(ds), k);
  }
};

}  // namespace graft
