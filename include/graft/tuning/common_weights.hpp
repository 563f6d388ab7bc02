// SPDX-License-Identifier: MIT
// Frozen matrices that the layers of a model have in common: one copy in memory, made from a seed.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace graft {

// Makes the matrices that layers need in common, and gives each layer the whole of its own. A layer
// that needs such lists them: common_weights(f) calls f(common_weight<B>{…}). To be called again
// when a layer was renumbered.
template <class B>
void share_weights(const part_list<B>& parts) {
  using parameter = typename B::parameter;
  std::map<std::tuple<std::string_view, index_t, std::uint64_t>, parameter> known;
  const auto for_each_weight = [&](auto&& f) {
    for (const listed_layer<B>& l : parts.layers)
      if (l.may->common_weights)
        l.may->common_weights(l.layer, [&](const common_weight<B>& w) {
          f(w, known[{w.name, w.cols, w.seed}]);
        });
  };
  for_each_weight([](const common_weight<B>& w, parameter& whole) {
    whole.rows = std::max(whole.rows, w.rows);
  });
  for_each_weight([](const common_weight<B>& w, parameter& whole) {
    if (!whole.data) {
      whole = parameter(whole.rows, w.cols);
      random_stream random(w.seed, hash_of(w.name));
      w.fill(whole, random);
    }
    w.weight = whole;
  });
}

template <lists_parts L>
void share_weights(L& root) {
  share_weights(list_parts(root));
}

}  // namespace graft
