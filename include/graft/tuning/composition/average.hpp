// SPDX-License-Identifier: MIT
// The weighted mean of several adapters.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/tuning/bottleneck_join.hpp>
#include <graft/tuning/bottleneck_layer.hpp>
#include <graft/tuning/composition/members.hpp>

#include <array>
#include <string_view>
#include <utility>

namespace graft {

template <class Branch, int N>
struct averaged_adapters;

namespace compose {

// | option    | meaning                                                  | default   |
// | adapters  | how many, called a, b, c, …                              | 2         |
// | each      | what each of them is, and where                          | bottleneck{} |
// | weights   | theirs, of up to 8; all zero: equal                      | equal     |
// | normalize | the weights are divided by their sum                     | true      |
struct average {
  int adapters = 2;
  bottleneck each{};
  std::array<float, most_numbers> weights{};
  bool normalize = true;

  static constexpr std::string_view name = "average";

  constexpr bool weighted() const {
    for (float w : weights)
      if (w != 0)
        return true;
    return false;
  }
  constexpr void check() const {
    detail::check_composition(adapters, each);
    if (weighted() && adapters > most_numbers)
      throw "graft: average.weights must be for 8 adapters at most";
    float sum = 0;
    for (int i = 0; i < most_numbers; ++i) {
      const float w = weights[static_cast<std::size_t>(i)];
      if (i >= adapters && w != 0)
        throw "graft: average.weights must not be more than there are adapters";
      sum += w;
    }
    if (weighted() && normalize && !(sum > 0))
      throw "graft: average.weights must have a positive sum, or normalize must be false";
  }
  constexpr bool row_by_row() const { return each.row_by_row(); }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    f("weights", weights);
    f("normalize", normalize);
    each.describe(f);
  }
  // The weight of adapter i.
  constexpr float weight(int i) const {
    if (!weighted())
      return 1.0f / static_cast<float>(adapters);
    float sum = 0;
    for (float w : weights)
      sum += w;
    return weights[static_cast<std::size_t>(i)] / (normalize ? sum : 1.0f);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.each> {};
  template <class L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type = typename here::template with<
        averaged_adapters<typename here::adapter, Spec.adapters>>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace compose

// y = Σ w_i · (A_i(x) + r). Keeps what the adapters keep.
//
// With weights that sum to 1 the residual stays as it is. (AdapterHub's Average divides by their
// number once more, so that its result is 1 / N of this mean.)
template <class Branch, int N>
struct averaged_adapters {
  using backend_type = typename Branch::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using scalar = typename B::scalar;
  using spec = compose::average;

  detail::adapters<Branch, N> adapters;
  std::array<float, static_cast<std::size_t>(N)> weights{};

  averaged_adapters() = default;
  averaged_adapters(index_t in, index_t out, const spec& s)
      : adapters(detail::make_adapters<Branch, N>(in, out, s.each)) {
    for (int i = 0; i < N; ++i)
      weights[static_cast<std::size_t>(i)] = s.weight(i);
  }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    detail::adapter_parts(f, z.adapters...);
  }
  struct gradient {
    detail::adapters<gradient_t<Branch>, N> adapters;
  };
  template <demand D>
  struct cache {
    detail::adapters<cache_t<Branch, D>, N> adapters;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k,
                 const tensor* residual = nullptr) const {
    tensor sum = k.make(x.rows, adapters.front().out());
    B::fill(sum, 0);
    for (std::size_t i = 0; i < adapters.size(); ++i)
      B::add_scaled(sum, adapters[i].template forward<D>(x, c.adapters[i], k, residual),
                    static_cast<scalar>(weights[i]));
    return sum;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k,
                tensor* residual = nullptr) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      tensor dx;
      for (std::size_t i = 0; i < adapters.size(); ++i) {
        tensor dr, dy_i = k.copy(dy);
        B::scale(dy_i, static_cast<scalar>(weights[i]));
        auto d = adapters[i].template backward<D>(
            std::move(dy_i), c.adapters[i], detail::part_at(g, i), k, residual ? &dr : nullptr);
        if constexpr (D.input)
          detail::add_to<B>(dx, std::move(d), k);
        if (residual)
          detail::add_to<B>(*residual, std::move(dr), k);
      }
      if constexpr (D.input)
        return dx;
      else
        return nothing{};
    }
  }

  void initialize(random_stream& random) {
    for (Branch& branch : adapters)
      branch.initialize(random);
  }
};

}  // namespace graft
