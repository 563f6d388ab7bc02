// SPDX-License-Identifier: MIT
// Frozen matrices that the layers of a model have in common: one copy in memory, made from a seed.
#pragma once

#include <graft/core/parts.hpp>
#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

namespace graft {

// What a layer needs of a matrix: at least `rows`, of which it uses the first. Equal names, columns
// and seeds are one matrix, which has the rows of the layer that needs most; `fill` gives it its
// values.
template <class B>
struct common_weight {
  typename B::frozen_weight& weight;
  std::string_view name;
  index_t rows, cols;
  std::uint64_t seed;
  void (*fill)(typename B::parameter& whole, random_stream& random);
};

// Makes the matrices that the layers inside `root` need, and gives each layer the whole of its own.
// A layer that needs such lists them: common_weights(f) calls f(common_weight<B>{…}). To be called
// again when a layer was renumbered.
template <lists_parts L>
void share_weights(L& root) {
  using B = typename L::backend_type;
  using parameter = typename B::parameter;
  std::map<std::tuple<std::string_view, index_t, std::uint64_t>, parameter> known;
  const auto for_each_weight = [&](auto&& f) {
    for_each_layer(root, [&](const std::string&, auto& layer) {
      if constexpr (requires { layer.common_weights(detail::ignore_part{}); })
        layer.common_weights([&](const common_weight<B>& w) {
          f(w, known[{w.name, w.cols, w.seed}]);
        });
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

}  // namespace graft
