// SPDX-License-Identifier: MIT
// AdapterDrop: doing without the adapters of the lowest layers.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/view.hpp>

namespace graft {

// Leaves out the bottlenecks, Compacters and compositions of the `lowest` layers of a network, and
// puts back those above: what has been dropped computes exactly its base, at no cost, and learns
// nothing. May be changed between any two steps, for faster inference or while training. Rücklé et
// al. 2021, arXiv:2010.11918.
template <class Model>
void drop_adapters(Model& model, index_t lowest) {
  for (const auto& l : list_parts(model.network).layers)
    if (l.may->dropped)
      if (const auto layer = detail::layer_of(l.path))
        l.may->dropped(l.layer) = *layer < lowest;
}

}  // namespace graft
