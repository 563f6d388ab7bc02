// SPDX-License-Identifier: MIT
// What attention attends to when nothing is added.
#pragma once

#include <graft/core/layer.hpp>

#include <utility>

namespace graft {

// The keys and values of the tokens, untouched. Keeps nothing, copies nothing.
template <backend B>
struct no_memory {
  using backend_type = B;
  using tensor = typename B::tensor;
  using gradient = nothing;

  index_t columns = 0;  // of keys and values, for what goes around

  index_t width() const { return columns; }

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}
  template <backend To>
  using on_backend = no_memory<To>;
  template <class F, class... Z>
  static void settings(F&& f, Z&&... z) {
    f(z.columns...);
  }

  template <demand D>
  struct cache {};

  template <demand D>
  attended<tensor> extend(attended<tensor> kv, const tensor&, cache<D>&, const context<B>&) const {
    return kv;
  }
  template <class Cache>
  static const layout& key_rows(const Cache&, const context<B>& k) {
    return k.batch;
  }
  template <demand D, class G>
  attended<tensor> retract(attended<tensor> d, cache<D>&, G*, const context<B>&) const {
    return d;
  }
};

}  // namespace graft
