// SPDX-License-Identifier: MIT
// The work of a training step: done by the host line by line, or put down for a device and launched as one.
#pragma once

#include <graft/core/context.hpp>
#include <graft/core/host_matrix.hpp>
#include <graft/core/reading.hpp>

namespace graft {

// Does a backend make steps by itself? Then it names `step` (an object that lives while the host walks
// through one, with end(); made of false where the same work is not likely to come again) and `step_state`
// (what it keeps from one to the next), and decides with judge() about clipping and whether a step is
// taken; losses and norms come when they are asked for.
template <class B>
concept makes_steps = requires {
  typename B::step;
  typename B::step_state;
};

namespace detail {

struct no_step_state {};
struct plain_step {
  explicit plain_step(bool = true) {}
  void end() {}
};

template <class B>
struct step_types {
  using step = plain_step;
  using state = no_step_state;
  static state make_state() { return {}; }
};
template <makes_steps B>
struct step_types<B> {
  using step = typename B::step;
  using state = typename B::step_state;
  static state make_state() { return B::make_step_state(); }
};

// Are its gradients those of a multiple of the loss?
template <class B>
constexpr bool scales_loss() {
  if constexpr (makes_steps<B>)
    return B::scales_loss;
  else
    return false;
}

// The outputs of a model, as one step.
template <class Model, class Input>
auto predicted(const Model& model, const Input& input, typename Model::backend_type::workspace& memory) {
  using B = typename Model::backend_type;
  typename step_types<B>::step work(false);
  const auto y = model.predict(input, context<B>{memory, input.rows});
  work.end();
  return read_matrix<B>(y);
}

}  // namespace detail

}  // namespace graft
