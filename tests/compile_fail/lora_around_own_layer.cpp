// SPDX-License-Identifier: MIT
// LoRA around a user's layer that is not affine.
// expect: lora_layer
#include <graft/backend/cpu.hpp>
#include <graft/tuning/lora.hpp>

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
  template <demand D, class G>
  tensor backward(tensor dy, const cache<D>&, G*, const context<backend_type>&) const {
    return dy;
  }
};

lora_layer<identity> decorated;
