// SPDX-License-Identifier: MIT
// Whether what a tuning grafts on a place makes each row of that row alone.
#pragma once

#include <graft/tuning/occupant.hpp>

#include <utility>

namespace graft {

namespace detail {

// As a decoration says of itself:  constexpr bool row_by_row() const;  false where it does not say.
template <auto What>
constexpr bool makes_row_by_row() {
  if constexpr (requires { What.row_by_row(); })
    return What.row_by_row();
  else
    return false;
}

}  // namespace detail

// Does what decorates these sites make the same of a row, whichever other rows of its sequence are there?
// Gates (adapter_gate) and what goes by a token's place in its sequence do not.
template <class Scope, site... S>
constexpr bool row_by_row_at() {
  using T = typename Scope::tuning_type;
  bool all = true;
  detail::for_each_rule<T>([&](auto r) {
    if constexpr ((detail::wraps<Scope, S, r()>() || ...))
      all = all && detail::makes_row_by_row<detail::rule_at<T, r()>.what>();
  });
  return all;
}

}  // namespace graft
