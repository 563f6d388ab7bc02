// SPDX-License-Identifier: MIT
// The one listing that every layer gives of its parts. Names of checkpoint entries, the flat store,
// counting, saving and loading all come from it, mostly by way of core/part_list.hpp.
//
// A layer lists its parts with a static function template over itself and whatever mirrors it:
//
//   template <class F, class... Z>
//   static void parts(F&& f, Z&&... z) { f(at::weight, z.weight...); f(at::bias, z.bias...); }
//
// The first of z is the layer, the others have its shape (a gradient). A part is a parameter, a
// layer, or a vector of layers; a tag with an empty name adds nothing to the path. A tag with a
// member `shared` names what all layers that list it have in common: its path begins anew with its
// name, and what lies there is one for the whole model (core/store.hpp).
#pragma once

#include <graft/core/demand.hpp>
#include <graft/core/plain.hpp>

#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace graft {

// A matrix that a layer owns: trained (parameter) or frozen (weight).
template <class P>
concept parameter_like = requires(P& p) {
  typename std::remove_cvref_t<P>::value_type;
  p.data;
  p.rows;
  p.cols;
  p.owner;
};

namespace detail {

struct ignore_part {
  template <class... A>
  constexpr void operator()(A&&...) const {}
};

template <class L>
inline constexpr bool is_vector = false;
template <class L, class A>
inline constexpr bool is_vector<std::vector<L, A>> = true;

}  // namespace detail

template <class L>
concept lists_parts = requires(L& l) {
  std::remove_cvref_t<L>::parts(detail::ignore_part{}, l);
};

namespace detail {

GRAFT_PLAIN std::string joined(const std::string& path, std::string_view name);

template <class Tag>
concept shared_tag = requires {
  Tag::shared;
};

template <class Tag>
std::string path_of(const std::string& path, const Tag& tag) {
  if constexpr (shared_tag<Tag>)
    return std::string(tag.name);
  else
    return joined(path, tag.name);
}

}  // namespace detail

// f(path, layer) for the layer itself and every layer inside it, innermost first: who fills the
// layers inside it has the last word.
template <class L, class F>
void for_each_layer(L& layer, F&& f, const std::string& path = "") {
  if constexpr (detail::is_vector<std::remove_cvref_t<L>>) {
    for (std::size_t i = 0; i < layer.size(); ++i)
      for_each_layer(layer[i], f, detail::joined(path, std::to_string(i)));
  } else if constexpr (!parameter_like<L>) {
    std::remove_cvref_t<L>::parts(
        [&](auto tag, auto& part) { for_each_layer(part, f, detail::path_of(path, tag)); }, layer);
    f(path, layer);
  }
}

// f(layer, gradient) for the layer itself and every layer inside it that has a gradient, innermost
// first.
template <class L, class G, class F>
void for_each_trained_layer(L& layer, G& gradient, F&& f) {
  if constexpr (detail::is_vector<std::remove_cvref_t<L>>) {
    for (std::size_t i = 0; i < layer.size(); ++i)
      for_each_trained_layer(layer[i], gradient[i], f);
  } else if constexpr (!parameter_like<L> && !std::is_same_v<std::remove_const_t<G>, nothing>) {
    std::remove_cvref_t<L>::parts(
        [&](auto, auto& part, auto& mirror) { for_each_trained_layer(part, mirror, f); }, layer,
        gradient);
    f(layer, gradient);
  }
}

}  // namespace graft

#if GRAFT_BODIES

namespace graft {

namespace detail {

GRAFT_PLAIN std::string joined(const std::string& path, std::string_view name) {
  if (name.empty())
    return path;
  if (path.empty())
    return std::string(name);
  std::string s;
  s.reserve(path.size() + 1 + name.size());
  s.append(path).append(1, '.').append(name);
  return s;
}

}  // namespace detail

}  // namespace graft

#endif
