// SPDX-License-Identifier: MIT
// A layer that cannot go back cannot be frozen: dx still passes it.
// expect: (template constraint failure for|constraints not satisfied for class template .frozen)
#include <graft/backend/cpu.hpp>
#include <graft/tuning/frozen.hpp>

using B = graft::cpu<float>;

struct one_way {
  using backend_type = B;
  using gradient = graft::nothing;
  static void parts(auto&&, auto&&...) {}
  template <graft::demand D>
  struct cache {};
  template <graft::demand D>
  B::tensor forward(const B::tensor& x, cache<D>&, const graft::context<B>&) const {
    return x;
  }
};

graft::frozen<one_way> layer;
