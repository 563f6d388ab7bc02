// SPDX-License-Identifier: MIT
// What a layer may be asked beside forward and backward. All of it is optional: a layer takes part in
// what it has a member for.
//
//   void initialize_base(random_stream&)            initial values of a layer that a checkpoint may fill
//   void initialize(random_stream&)                 … of a decoration
//   void start_from_base()                          … that follow from those of what is decorated
//   void base_filled()                              told, before start_from_base, that the base has its
//                                                   values, wherever they come from
//   void placed(std::uint32_t)                      the number under which it draws dropout masks
//   decoration_numbers numbers() const              what may be decided at run time …
//   void renumber(const decoration_numbers&)        … and deciding it, before values are there
//   void rate_factors(f) const                      f(tag, factor): parameters, none of them shared,
//                                                   with a learning rate of their own
//   void common_weights(f)                          f(common_weight<B>): frozen matrices in common
//                                                   with other layers
//   decoration_numbers saved_numbers() const        numbers and parameters that a file holds instead of
//   void saved_parts(f) const                       its own, none of them shared; f(tag, parameter)
//   double penalize(gradient&) const                adds the slope of a term of the loss to its gradient
//   double penalize(gradient&, index_t alike) const … of a term that is a mean over the layers of this
//                                                   `method`, of which the network has `alike`
//   void training_memory(f)                         f(name, vector<scalar>&): what it remembers of a
//                                                   training's steps beside its parameters
//   dense_form<B> as_dense() const                  the one matrix that it and what it decorates are
//   bool dropped                                    leaves what it decorates as it was
//   bool optional                                   a rank of 0 will do: a file need not mention it
//   std::string_view method                         what a decoration is called in files
#pragma once

#include <graft/core/demand.hpp>
#include <graft/core/dense_form.hpp>
#include <graft/core/numbers.hpp>
#include <graft/core/random.hpp>
#include <graft/core/view.hpp>

#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

namespace graft {

// What a layer needs of a frozen matrix in common: at least `rows`, of which it uses the first. Equal
// names, columns and seeds are one matrix, which has the rows of the layer that needs most; `fill` gives
// it its values.
template <class B>
struct common_weight {
  typename B::frozen_weight& weight;
  std::string_view name;
  index_t rows, cols;
  std::uint64_t seed;
  void (*fill)(typename B::parameter& whole, random_stream& random);
};

// The members above as functions of a layer whose type is no longer known; null for those it lacks.
template <class B>
struct layer_hooks {
  using parameter = typename B::parameter;

  std::string_view method;
  void (*initialize_base)(void* layer, random_stream&) = nullptr;
  void (*initialize)(void* layer, random_stream&) = nullptr;
  void (*base_filled)(void* layer) = nullptr;
  void (*start_from_base)(void* layer) = nullptr;
  void (*placed)(void* layer, std::uint32_t) = nullptr;
  decoration_numbers (*numbers)(const void* layer) = nullptr;
  void (*renumber)(void* layer, const decoration_numbers&) = nullptr;
  void (*rate_factors)(const void* layer,
                       const std::function<void(std::string_view tag, double factor)>&) = nullptr;
  void (*common_weights)(void* layer, const std::function<void(const common_weight<B>&)>&) = nullptr;
  decoration_numbers (*saved_numbers)(const void* layer) = nullptr;
  void (*saved_parts)(const void* layer,
                      const std::function<void(std::string_view tag, parameter)>&) = nullptr;
  double (*penalize)(const void* layer, void* gradient, index_t alike) = nullptr;
  void (*training_memory)(
      void* layer,
      const std::function<void(std::string_view name, std::vector<typename B::scalar>&)>&) = nullptr;
  dense_form<B> (*as_dense)(const void* layer) = nullptr;
  bool& (*dropped)(void* layer) = nullptr;
  bool (*optional)(const void* layer) = nullptr;
};

namespace detail {

template <class B, class L>
constexpr layer_hooks<B> make_hooks() {
  layer_hooks<B> may;
  if constexpr (requires { L::method; })
    may.method = L::method;
  if constexpr (requires(L& l, random_stream& r) { l.initialize_base(r); })
    may.initialize_base = [](void* l, random_stream& r) { static_cast<L*>(l)->initialize_base(r); };
  if constexpr (requires(L& l, random_stream& r) { l.initialize(r); })
    may.initialize = [](void* l, random_stream& r) { static_cast<L*>(l)->initialize(r); };
  if constexpr (requires(L& l) { l.base_filled(); })
    may.base_filled = [](void* l) { static_cast<L*>(l)->base_filled(); };
  if constexpr (requires(L& l) { l.start_from_base(); })
    may.start_from_base = [](void* l) { static_cast<L*>(l)->start_from_base(); };
  if constexpr (requires(L& l) { l.placed(std::uint32_t{}); })
    may.placed = [](void* l, std::uint32_t n) { static_cast<L*>(l)->placed(n); };
  if constexpr (requires(const L& l) { l.numbers(); })
    may.numbers = [](const void* l) { return static_cast<const L*>(l)->numbers(); };
  if constexpr (requires(L& l, const decoration_numbers& n) { l.renumber(n); l.numbers(); })
    may.renumber = [](void* l, const decoration_numbers& n) { static_cast<L*>(l)->renumber(n); };
  if constexpr (requires(const L& l) { l.rate_factors([](auto, double) {}); })
    may.rate_factors = [](const void* l, const auto& f) {
      static_cast<const L*>(l)->rate_factors([&](auto tag, double factor) { f(tag.name, factor); });
    };
  if constexpr (requires(L& l) { l.common_weights([](const common_weight<B>&) {}); })
    may.common_weights = [](void* l, const auto& f) { static_cast<L*>(l)->common_weights(f); };
  if constexpr (requires(const L& l) { l.saved_numbers(); }) {
    may.saved_numbers = [](const void* l) { return static_cast<const L*>(l)->saved_numbers(); };
    may.saved_parts = [](const void* l, const auto& f) {
      static_cast<const L*>(l)->saved_parts([&](auto tag, auto p) { f(tag.name, std::move(p)); });
    };
  }
  if constexpr (requires(const L& l, gradient_t<L>& g) { l.penalize(g, index_t{}); })
    may.penalize = [](const void* l, void* g, index_t alike) {
      return static_cast<const L*>(l)->penalize(*static_cast<gradient_t<L>*>(g), alike);
    };
  else if constexpr (requires(const L& l, gradient_t<L>& g) { l.penalize(g); })
    may.penalize = [](const void* l, void* g, index_t) {
      return static_cast<const L*>(l)->penalize(*static_cast<gradient_t<L>*>(g));
    };
  if constexpr (requires(L& l) { l.training_memory([](std::string_view, auto&) {}); })
    may.training_memory = [](void* l, const auto& f) { static_cast<L*>(l)->training_memory(f); };
  if constexpr (requires(const L& l) { l.as_dense(); })
    may.as_dense = [](const void* l) { return static_cast<const L*>(l)->as_dense(); };
  if constexpr (requires(L& l) { l.dropped = true; })
    may.dropped = [](void* l) -> bool& { return static_cast<L*>(l)->dropped; };
  if constexpr (requires(const L& l) { static_cast<bool>(l.optional); })
    may.optional = [](const void* l) { return static_cast<const L*>(l)->optional; };
  return may;
}

template <class B, class L>
inline constexpr layer_hooks<B> hooks_of = make_hooks<B, L>();

}  // namespace detail

}  // namespace graft
