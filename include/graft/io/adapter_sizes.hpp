// SPDX-License-Identifier: MIT
// The sizes that an adapter claims, against those that it brings.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/view.hpp>
#include <graft/io/adapter_data.hpp>

#include <algorithm>
#include <string>

namespace graft {

namespace detail {

// A model makes room for a decoration's numbers before it looks at the tensors: throws
// checkpoint_error for a size above 1024 that is larger than all of them.
GRAFT_PLAIN void expect_modest_sizes(const adapter_data& a);

}  // namespace detail

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN void expect_modest_sizes(const adapter_data& a) {
  index_t largest = 1024;
  for (const auto& [path, m] : a.tensors)
    if (m.size() > 0)
      largest = std::max({largest, m.rows, m.cols});
  for (const auto& [path, methods] : a.decorations)
    for (const auto& [method, decoration] : methods)
      for (const char* name : {"rank", "width", "tokens", "hidden", "dim", "inner"})
        if (const auto size = decoration.numbers.find(name);
            size && *size > static_cast<double>(largest))
          throw checkpoint_error(a.source + ": " + path + ": " + method + "." + name +
                                 ": expected a size that a tensor in " + a.values +
                                 " has, found more than " + std::to_string(largest));
}

}  // namespace detail

}  // namespace graft

#endif
