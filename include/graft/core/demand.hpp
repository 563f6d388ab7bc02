// SPDX-License-Identifier: MIT
// What a caller wants back from backward: the compile-time value from which every cache, gradient and
// skipped computation of graft follows.
#pragma once

#include <type_traits>

namespace graft {

// Which of a layer's parameters are trained.
enum class params : unsigned char { none, biases, all };

inline constexpr params biases = params::biases;

// input: the gradient with respect to the layer's input; params: those of its parameters.
// A layer asked for neither keeps nothing in forward and is never asked to go backward.
struct demand {
  bool input = true;
  enum params params = params::all;

  constexpr bool trains() const { return params != params::none; }
  constexpr bool any() const { return input || trains(); }
  // The same of no more parameters than `most`.
  constexpr demand at_most(enum params most) const { return {input, params < most ? params : most}; }
  // What is asked of a part that comes after something else: its input gradient is also needed when
  // that earlier something is reached.
  constexpr demand after(bool earlier_part_is_reached) const {
    return {input || earlier_part_is_reached, params};
  }
  friend constexpr bool operator==(demand, demand) = default;
};

// The gradient of what is frozen, and the result of a backward nobody asked an input gradient of.
struct nothing {
  friend constexpr bool operator==(nothing, nothing) = default;
};

// The gradient type of a layer; `nothing` where all of it is frozen.
template <class L>
using gradient_t = typename L::gradient;

template <class L>
inline constexpr bool trainable = !std::is_same_v<gradient_t<L>, nothing>;

// Must backward enter L? Either its input's gradient is wanted, or it has parameters that are trained.
template <class L>
constexpr bool reached(demand d) {
  return d.input || (trainable<L> && d.trains());
}

}  // namespace graft
