// SPDX-License-Identifier: MIT
// Several adapters of one kind side by side, with names.
#pragma once

#include <graft/core/layer.hpp>
#include <graft/core/random.hpp>
#include <graft/tuning/adapter_branch.hpp>
#include <graft/tuning/bottleneck_spec.hpp>

#include <array>
#include <string>
#include <type_traits>

namespace graft {

// How many adapters a composition may have: they are called a, b, c, …
inline constexpr int most_adapters = 26;
// … and how many may be given numbers of their own (weights, lengths).
inline constexpr int most_numbers = 8;

namespace detail {

struct named_part {
  std::string name;
};

// The adapters of a composition: their paths end in adapter.a, adapter.b, …, and each has numbers
// of its own.
template <class Branch, int N>
using adapters = std::array<Branch, static_cast<std::size_t>(N)>;

template <class Branch, int N, class Spec>
adapters<Branch, N> make_adapters(index_t in, index_t out, const Spec& each) {
  adapters<Branch, N> made;
  for (Branch& branch : made)
    branch = Branch(in, out, each);
  return made;
}

// f(name, adapter, mirrors...) for each of them.
template <class F, class Adapters, class... Z>
void adapter_parts(F&& f, Adapters& of, Z&... mirrors) {
  for (std::size_t i = 0; i < of.size(); ++i)
    f(named_part{std::string(1, static_cast<char>('a' + i))}, of[i], mirrors[i]...);
}

// The gradient of adapter i of a composition.
template <class G>
auto part_at(G* g, std::size_t i) {
  if constexpr (std::is_same_v<G, nothing>)
    return g;
  else
    return &g->adapters[i];
}

constexpr void check_composition(int adapters, const bottleneck& each) {
  if (adapters < 2 || adapters > most_adapters)
    throw "graft: a composition must have 2 to 26 adapters";
  each.check();
}

// A composition where a bottleneck with options Each would stand: `adapter` is one of its adapters,
// `join` how they lie in a join, `with<Branch>` the decorated layer. (Not aliases: g++ 12 crashes
// on them.)
template <class L, bottleneck Each>
struct composed {
  using adapter = adapter_branch<typename L::backend_type, Each.form()>;
  static constexpr join_form join = Each.in_join();
  template <class Branch>
  struct with {
    using type = typename bottleneck::template placed_branch<L, Branch, Each.place, join>::type;
  };
};

}  // namespace detail

}  // namespace graft
