// SPDX-License-Identifier: MIT
// Positions that begin behind a prefix.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/site.hpp>
#include <graft/tuning/base_part.hpp>
#include <graft/tuning/frozen.hpp>

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// y[i] = L(ids[i] + tokens): what the position table of a model with a prefix becomes where the
// prefix takes the first positions. Keeps the ids.
template <detail::freezable L>
struct prefix_positions {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  using ids = std::span<const std::int32_t>;
  using gradient = gradient_t<L>;

  L base;
  std::int32_t tokens = 0;

  prefix_positions() = default;
  template <class Spec>
  prefix_positions(L table, const Spec& spec) : base(std::move(table)), tokens(spec.tokens) {}

  index_t entries() const { return base.entries() - tokens; }
  index_t width() const { return base.width(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, detail::base_part(z)...);
  }

  template <demand D>
  struct cache {
    cache_t<L, D> base;
    std::vector<std::int32_t> shifted;
  };

  template <demand D>
  tensor forward(const ids& rows, cache<D>& c, const context<B>& k) const {
    c.shifted.assign(rows.begin(), rows.end());
    for (std::int32_t& id : c.shifted)
      id += tokens;
    return base.template forward<D>(ids(c.shifted), c.base, k);
  }
  template <demand D, class G>
  nothing backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    if constexpr (trainable<L>)
      base.template backward<D>(std::move(dy), c.base, g, k);
    return {};
  }

  static constexpr std::string_view method = "prefix";
  decoration_numbers numbers() const { return {{"tokens", tokens}}; }
  // Throws input_error for impossible numbers.
  void renumber(const decoration_numbers& n) {
    if (const auto count = n.count("tokens", 1))
      tokens = *count;
  }
};

}  // namespace graft
