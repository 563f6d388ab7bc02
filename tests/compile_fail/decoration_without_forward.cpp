// SPDX-License-Identifier: MIT
// A user's decoration whose layer is incomplete.
// expect: graft: the decorated layer lacks forward<D>
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/occupant.hpp>

using namespace graft;

// A decoration whose layer lacks forward.
template <class L>
struct scaled_layer {
  using backend_type = typename L::backend_type;
  using tensor = typename backend_type::tensor;
  using gradient = gradient_t<L>;
  template <demand D>
  using cache = cache_t<L, D>;

  L base;

  explicit scaled_layer(L layer, const auto&) : base(std::move(layer)) {}

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<backend_type>& k) const {
    return base.template backward<D>(std::move(dy), c, g, k);
  }
};

struct scaled {
  float factor = 1;
  template <class L, auto>
  using apply = scaled_layer<L>;
};

struct wrong {
  static constexpr recipe rules{on(at::query, scaled{.factor = 2})};
};
leaf<scope<wrong>, at::query_t, linear<cpu<float>>> query;
