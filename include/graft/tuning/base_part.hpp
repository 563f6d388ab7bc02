// SPDX-License-Identifier: MIT
// The one part of a decorated layer that has no parameters of its own.
#pragma once

#include <graft/core/layer.hpp>

#include <type_traits>

namespace graft::detail {

// Of the layer its base; a gradient, which is the base's own, as it is.
template <class Z>
auto& base_part(Z& z) {
  if constexpr (has_backend<std::remove_const_t<Z>>)
    return z.base;
  else
    return z;
}

}  // namespace graft::detail
