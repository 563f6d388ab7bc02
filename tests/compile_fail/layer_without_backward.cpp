// SPDX-License-Identifier: MIT
// A user's layer without backward, where a layer is asked for.
// expect: (unsatisfied constraints|no matching function).*train_it
#include <graft/backend/cpu.hpp>
#include <graft/core/layer.hpp>

using namespace graft;

// y = x
struct identity {
  using backend_type = cpu<float>;
  using tensor = backend_type::tensor;
  using gradient = nothing;
  template <demand D>
  struct cache {};

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}

  template <demand D>
  tensor forward(const tensor& x, cache<D>&, const context<backend_type>&) const {
    return x;
  }
};

void train_it(const layer auto&) {}

void use() { train_it(identity{}); }
