// SPDX-License-Identifier: MIT
// A layer on another backend, and what crosses between two. A layer that may stand on another one says
//
//   template <backend To> using on_backend = …;     its type there, constrained where a part cannot follow
//
// and, where it computes with more than its parts, lists that in the same way:
//
//   template <class F, class... Z>
//   static void settings(F&& f, Z&&... z) { f(z.alpha...); f(z.drop...); }
//
// A layer among them stands for the settings that it lists itself.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/parts.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

template <class L, class To>
concept movable_to = requires { typename L::template on_backend<To>; };

namespace detail {

// Not an alias alone: a class that wraps an L which cannot move must still be one.
template <class L, class To>
struct on_backend_of {
  using type = typename L::template on_backend<To>;
};

}  // namespace detail

template <class L, class To>
using on_backend_t = typename detail::on_backend_of<L, To>::type;

namespace detail {

// Values of the host as a frozen weight: shared where the backend reads the same numbers, else a copy.
template <class B, class Scalar>
typename B::frozen_weight frozen_from(std::span<const Scalar> values, index_t rows, index_t cols,
                                      std::shared_ptr<const void> owner) {
  using scalar = typename B::scalar;
  if constexpr (std::same_as<scalar, Scalar>) {
    return {values.data(), rows, cols, std::move(owner)};
  } else {
    const auto copy = std::make_shared<std::vector<scalar>>();
    copy->reserve(values.size());
    for (const Scalar v : values)
      copy->push_back(static_cast<scalar>(v));
    return {copy->data(), rows, cols, copy};
  }
}

template <class A, class B>
inline constexpr bool one_memory = std::same_as<typename A::workspace, typename B::workspace> &&
                                   std::same_as<typename A::const_view, typename B::const_view>;

// Where backend To has its tensors of the steps that `memory` serves.
template <class To, class Memory>
typename To::workspace& workspace_of(Memory& memory) {
  if constexpr (std::same_as<typename To::workspace, Memory>)
    return memory;
  else
    return memory.template beside<typename To::workspace>();
}

// y = x, on backend To: directly in one memory, else by way of the host, which waits for x.
template <class From, class To>
void cross(typename To::view y, typename From::const_view x) {
  if constexpr (one_memory<From, To>)
    To::copy(y, x);
  else
    To::from_host(y, From::on_host(x));
}

// x as a tensor of To's; x itself where From is To.
template <class From, class To>
typename To::tensor across(typename From::tensor x, const context<To>& k) {
  if constexpr (std::same_as<From, To>) {
    return x;
  } else {
    typename To::tensor y = k.make(x.rows, x.cols);
    cross<From, To>(y, x);
    return y;
  }
}

template <class L>
concept has_settings = requires(const L& l) { L::settings(ignore_part{}, l); };

// Gives `far` the settings of `near`, and those of the layers inside it; f(matrix, its counterpart) for
// every parameter and setting that is one. Writes nothing that is so already.
template <class Near, class Far, class F>
void for_each_counterpart(const Near& near, Far& far, const F& f) {
  if constexpr (parameter_like<Near>) {
    f(near, far);
  } else {
    if constexpr (has_settings<Near>)
      Near::settings(
          [&](const auto& from, auto& to) {
            using type = std::remove_cvref_t<decltype(to)>;
            if constexpr (parameter_like<type>)
              f(from, to);
            else if constexpr (has_settings<type>)
              for_each_counterpart(from, to, f);
            else if (!(to == static_cast<type>(from)))
              to = static_cast<type>(from);
          },
          near, far);
    Near::parts([&](auto, const auto& from, auto& to) { for_each_counterpart(from, to, f); }, near,
                far);
  }
}

// f(parameter's gradient, its counterpart) for every trained parameter of `layer`.
template <class L, class G, class Other, class F>
void for_each_gradient(const L& layer, G& gradient, Other& other, const F& f) {
  if constexpr (!std::is_same_v<G, nothing>) {
    if constexpr (parameter_like<L>)
      f(gradient, other);
    else
      L::parts([&](auto, const auto& part, auto& g, auto& o) { for_each_gradient(part, g, o, f); },
               layer, gradient, other);
  }
}

}  // namespace detail

}  // namespace graft
