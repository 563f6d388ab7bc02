// SPDX-License-Identifier: MIT
// The decoration `lora_bank`: a place whose low-rank update comes with each batch, and may be
// another for each of its rows.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layer.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/site.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

template <dense_layer L>
struct lora_bank_layer;

// Around any affine layer:  on(at::linear, lora_bank{}).
struct lora_bank {
  static constexpr std::string_view name = "lora_bank";
  static constexpr bool in_files = false;  // has no parameters

  template <class L, class Site, auto Spec>
  static constexpr bool fits = [] {
    if constexpr (requires { requires L::affine; })
      return dense_layer<L>;
    else
      return false;
  }();
  template <class L, class Site, auto Spec>
  struct misfit {
    static_assert(
        sizeof(L) == 0,
        "graft: lora_bank needs an affine layer, and none stands at this site (at::linear "
        "selects them all)");
  };
  template <dense_layer L, auto Spec>
  using apply = lora_bank_layer<L>;
};

// y[i] = f(x)[i] + s · (x[i] Aᵀ Bᵀ + c) with the update of row i among those that the context has
// for this place (core/row_updates.hpp), or f(x)[i] where it has none.
//
// The updates are not trained and keep nothing. Throws shape_error for one that reaches beyond the
// rows. After Chen et al. 2023 (Punica), arXiv:2310.18547.
template <dense_layer L>
struct lora_bank_layer {
  using backend_type = typename L::backend_type;
  using B = backend_type;
  using tensor = typename B::tensor;
  static constexpr bool affine = true;

  L base;
  std::uint32_t place = 0;

  lora_bank_layer() = default;
  explicit lora_bank_layer(L layer, const lora_bank& = {}) : base(std::move(layer)) {}

  index_t in() const { return base.in(); }
  index_t out() const { return base.out(); }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.base...);
  }

  struct mirror {
    gradient_t<L> base;
  };
  using gradient = std::conditional_t<trainable<L>, mirror, nothing>;

  template <demand D>
  struct cache {
    cache_t<L, D> base;
  };

  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = base.template forward<D>(x, c.base, k);
    const auto updates = updates_of(k, x.rows);
    if (updates.empty())
      return y;
    y = k.own(std::move(y));
    B::add_low_rank(y, x, updates);
    return y;
  }

  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    const auto base_gradient = part<D>(g, &mirror::base);
    if constexpr (D.input) {
      tensor dx = k.own(base.template backward<D>(dy, c.base, base_gradient, k));
      for (const auto& u : updates_of(k, dy.rows)) {
        tensor dh = k.make(u.rows, u.a.rows);
        B::product_nn(dh, dy.rows_of(u.first, u.rows), u.b, 1, false);
        B::product_nn(dx.rows_of(u.first, u.rows), dh, u.a, u.scale, true);
      }
      return dx;
    } else {
      if constexpr (reached<L>(D))
        base.template backward<D>(std::move(dy), c.base, base_gradient, k);
      return nothing{};
    }
  }

  static constexpr std::string_view method = lora_bank::name;
  // Told by the model, or by number_places: the number of this place among the updates.
  void placed(std::uint32_t number) { place = number; }

 private:
  auto updates_of(const context<B>& k, index_t rows) const {
    using all = decltype(k.updates->at(place));
    const all updates = k.updates ? k.updates->at(place) : all();
    for (const auto& u : updates)
      if (u.first < 0 || u.first + u.rows > rows)
        throw shape_error("lora_bank: expected updates of " + std::to_string(rows) +
                          " rows, found one of the rows " + std::to_string(u.first) + " to " +
                          std::to_string(u.first + u.rows - 1));
    return updates;
  }
};

template <class L>
lora_bank_layer(L) -> lora_bank_layer<L>;

// A place that lora_bank decorates: the map there is from `in` to `out` columns.
struct bank_place {
  std::string path;
  index_t in = 0, out = 0;
};

// Numbers the places of a network 0, 1, …, in the order of its listing.
template <lists_parts Network>
std::vector<bank_place> number_places(Network& network) {
  const auto parts = list_parts(network);
  std::vector<bank_place> places;
  for (const auto& l : parts.layers) {
    if (l.may->method != lora_bank::name)
      continue;
    l.may->placed(l.layer, static_cast<std::uint32_t>(places.size()));
    places.push_back({l.path});
    for (std::size_t i = l.first_parameter; i < l.next_parameter; ++i)
      if (const auto& p = parts.parameters[i]; p.path == detail::joined(l.path, at::weight.name)) {
        places.back().in = p.cols();
        places.back().out = p.rows();
      }
  }
  return places;
}

}  // namespace graft
