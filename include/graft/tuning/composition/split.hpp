// SPDX-License-Identifier: MIT
// Several adapters that share the rows of a batch: by place in a sequence, or by sequence.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/layout.hpp>
#include <graft/tuning/bottleneck_join.hpp>
#include <graft/tuning/bottleneck_layer.hpp>
#include <graft/tuning/composition/members.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

template <class Branch, int N, class Spec>
struct split_adapters;

namespace detail {

// Where the share of each of n adapters begins in `count` things, and their end.
inline std::vector<index_t> share_bounds(index_t count, std::size_t n,
                                         const std::array<int, most_numbers>& shares) {
  std::vector<index_t> bounds{0};
  const auto adapters = static_cast<index_t>(n);
  const bool equal = std::all_of(shares.begin(), shares.end(), [](int s) { return s == 0; });
  for (index_t i = 1; i < adapters; ++i)
    bounds.push_back(equal ? (count * i + adapters - 1) / adapters
                     : i <= most_numbers
                         ? std::min(count, bounds.back() + shares[static_cast<std::size_t>(i - 1)])
                         : bounds.back());
  bounds.push_back(count);
  return bounds;
}

}  // namespace detail

namespace compose {

// Consecutive tokens of every sequence go to a, b, c, … in turn.
//
// | option    | meaning                                                            | default      |
// | adapters  | how many, called a, b, c, …                                        | 2            |
// | each      | what each of them is, and where                                    | bottleneck{} |
// | lengths   | tokens for each of up to 8, the last gets the rest; all zero: as   | equal        |
// |           | equal as can be, earlier ones longer                               |              |
struct split {
  int adapters = 2;
  bottleneck each{};
  std::array<int, most_numbers> lengths{};

  static constexpr std::string_view name = "split";

  constexpr void check() const {
    detail::check_composition(adapters, each);
    for (int length : lengths)
      if (length < 0)
        throw "graft: split.lengths must be 0 or more";
  }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    f("lengths", lengths);
    each.describe(f);
  }
  // Gives every adapter its rows.
  void share(const layout& batch, std::span<row_share> of) const {
    for (index_t s = 0; s < batch.sequences(); ++s) {
      const auto bounds = detail::share_bounds(batch.length(s), of.size(), lengths);
      for (std::size_t i = 0; i < of.size(); ++i)
        of[i].take(batch, s, bounds[i], bounds[i + 1] - bounds[i]);
    }
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.each> {};
  template <class L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type = typename here::template with<
        split_adapters<typename here::adapter, Spec.adapters, split>>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

// Consecutive sequences of a batch go to a, b, c, … in turn. `sizes` counts sequences as lengths of
// split counts tokens.
//
// Running several adapters on the same input (AdapterHub's Parallel) is this with equal sizes over
// a batch that holds the input once for each adapter: the results lie one below another, all of a's
// first, and one head reads them. With a head for each it is compose::by_task.
struct batch_split {
  int adapters = 2;
  bottleneck each{};
  std::array<int, most_numbers> sizes{};

  static constexpr std::string_view name = "batch_split";

  constexpr void check() const {
    detail::check_composition(adapters, each);
    for (int size : sizes)
      if (size < 0)
        throw "graft: batch_split.sizes must be 0 or more";
  }
  constexpr bool row_by_row() const { return each.row_by_row(); }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    each.describe(f);
  }
  void share(const layout& batch, std::span<row_share> of) const {
    const auto bounds = detail::share_bounds(batch.sequences(), of.size(), sizes);
    for (std::size_t i = 0; i < of.size(); ++i)
      for (index_t s = bounds[i]; s < bounds[i + 1]; ++s)
        of[i].take(batch, s);
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.each> {};
  template <class L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type = typename here::template with<
        split_adapters<typename here::adapter, Spec.adapters, batch_split>>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace compose

// y[rows of i] = A_i(x[rows of i]) + r[rows of i]: each row goes through one adapter, which sees
// its rows as sequences of their own. Where one adapter gets them all, nothing is copied. Keeps what
// the adapters keep.
template <class Branch, int N, class Spec>
struct split_adapters {
  using backend_type = typename Branch::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using spec = Spec;

  detail::adapters<Branch, N> adapters;
  spec sharing{};  // its lengths or sizes may be changed from batch to batch

  split_adapters() = default;
  split_adapters(index_t in, index_t out, const spec& s)
      : adapters(detail::make_adapters<Branch, N>(in, out, s.each)), sharing(s) {}

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
    expect_size("split: rows of the batch", k.batch.rows(), x.rows);
    const auto shares = shares_of(k.batch);
    tensor y;
    for (std::size_t i = 0; i < shares.size(); ++i) {
      const row_share& share = shares[i];
      if (share.rows.rows() == x.rows)
        return adapters[i].template forward<D>(x, c.adapters[i], k, residual);
      if (share.ids.empty())
        continue;
      const tensor mine = rows_of(x, share, k);
      const tensor r = residual ? rows_of(*residual, share, k) : tensor{};
      if (y.rows == 0)
        y = zeros(x.rows, adapters.front().out(), k);
      B::scatter_add(y,
                     adapters[i].template forward<D>(mine, c.adapters[i], k.with(share.rows),
                                                     residual ? &r : nullptr),
                     share.ids);
    }
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k,
                tensor* residual = nullptr) const {
    if constexpr (!D.any()) {
      return nothing{};
    } else {
      const auto shares = shares_of(k.batch);
      for (std::size_t i = 0; i < shares.size(); ++i)
        if (shares[i].rows.rows() == dy.rows)
          return adapters[i].template backward<D>(std::move(dy), c.adapters[i],
                                                  detail::part_at(g, i), k, residual);
      tensor dx;
      if constexpr (D.input)
        dx = zeros(dy.rows, adapters.front().in(), k);
      if (residual)
        *residual = zeros(dy.rows, dy.cols, k);
      for (std::size_t i = 0; i < shares.size(); ++i) {
        const row_share& share = shares[i];
        if (share.ids.empty())
          continue;
        tensor dr;
        auto d = adapters[i].template backward<D>(rows_of(dy, share, k), c.adapters[i],
                                                  detail::part_at(g, i), k.with(share.rows),
                                                  residual ? &dr : nullptr);
        if constexpr (D.input)
          B::scatter_add(dx, d, share.ids);
        if (residual)
          B::scatter_add(*residual, dr, share.ids);
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

 private:
  std::array<row_share, static_cast<std::size_t>(N)> shares_of(const layout& batch) const {
    std::array<row_share, static_cast<std::size_t>(N)> shares;
    sharing.share(batch, shares);
    return shares;
  }
  static tensor rows_of(const tensor& x, const row_share& share, const context<B>& k) {
    tensor mine = k.make(static_cast<index_t>(share.ids.size()), x.cols);
    B::gather(mine, x, share.ids, false);
    return mine;
  }
  static tensor zeros(index_t rows, index_t cols, const context<B>& k) {
    tensor z = k.make(rows, cols);
    B::fill(z, 0);
    return z;
  }
};

}  // namespace graft
