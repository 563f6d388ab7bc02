// SPDX-License-Identifier: MIT
// Table lookup.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/site.hpp>
#include <graft/layer/initial.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace graft {

// y[i] = W[ids[i]];  W [entries, width], y [n, width].
//
// Keeps the ids (a view: they must outlive the step) when asked for the gradient of W. Ids have no
// gradient. Throws input_error for an id outside the table.
template <backend B, class Weight = typename B::parameter>
struct embedding {
  using backend_type = B;
  using tensor = typename B::tensor;
  using ids = std::span<const std::int32_t>;
  using frozen_form = embedding<B, typename B::frozen_weight>;
  static constexpr bool trained = std::is_same_v<Weight, typename B::parameter>;

  Weight weight;

  embedding() = default;
  embedding(index_t entries, index_t width) : weight(entries, width) {}
  template <class Other>
    requires(!std::is_same_v<Other, Weight>)
  explicit embedding(embedding<B, Other> other) : weight(std::move(other.weight)) {}

  index_t entries() const { return weight.rows; }
  index_t width() const { return weight.cols; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.weight...);
  }

  struct mirror {
    typename B::parameter weight;
  };
  using gradient = std::conditional_t<trained, mirror, nothing>;

  template <demand D>
  static constexpr bool keeps_ids = trained && D.params == params::all;
  template <demand D>
  struct cache {};
  template <demand D>
    requires(keeps_ids<D>)
  struct cache<D> {
    ids rows;
  };

  template <demand D>
  tensor forward(const ids& rows, cache<D>& c, const context<B>& k) const {
    for (std::int32_t id : rows)
      if (id < 0 || id >= entries())
        throw input_error("embedding: expected ids below " + std::to_string(entries()) +
                          ", found " + std::to_string(id));
    tensor y = k.make(static_cast<index_t>(rows.size()), width());
    B::gather(y, weight, rows, false);
    if constexpr (keeps_ids<D>)
      c.rows = rows;
    return y;
  }

  template <demand D, class G>
  nothing backward(tensor dy, [[maybe_unused]] cache<D>& c, [[maybe_unused]] G* g,
                   const context<B>&) const {
    if constexpr (keeps_ids<D>)
      B::scatter_add(g->weight, dy, c.rows);
    return {};
  }

  // BERT's initial values: normal with the given deviation.
  void initialize_base(random_stream& random, double deviation = 0.02) {
    set_values<B>(weight, [&] { return deviation * random.normal(); });
  }
};

namespace detail {

// The table of vectors inside a decorated embedding or a model's embeddings, or in what mirrors them.
template <class L>
auto& table_in(L& l) {
  if constexpr (requires { l.weight; })
    return l.weight;
  else if constexpr (requires { l.base; })
    return table_in(l.base);
  else
    return table_in(l.word);
}

}  // namespace detail

}  // namespace graft
