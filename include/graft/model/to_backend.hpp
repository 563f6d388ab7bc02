// SPDX-License-Identifier: MIT
// A model over another backend: model.to<cuda<bf16>>() and back.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/on_backend.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/store.hpp>
#include <graft/tuning/occupant.hpp>

#include <cstddef>
#include <string>

namespace graft::detail {

// Gives a parameter the values of another backend's; frozen ones are shared where both read the same
// numbers.
template <class B, class From>
void take_values(const listed_parameter<B>& p, const listed_parameter<From>& from) {
  const listed_values<From> found(from);
  const auto values = found.values();
  if (values.empty())
    throw error("to: " + from.path + ": expected values, found them quantised");
  if (p.parameter)
    B::from_host(*p.parameter, values);
  else
    *p.weight = frozen_from<B>(values, p.rows(), p.cols(), found.owner());
}

// Makes of a model without values the same as another, which differs in its backend alone. Throws
// graft::error for weights that are quantised, and for decorations that keep a part of the base to
// themselves (PiSSA, OLoRA).
template <class Model, class From>
void become(Model& model, const From& from) {
  {
    const auto to = list_parts(model.network);
    const auto parts = list_parts(from.network);
    expect_size("to: layers", static_cast<index_t>(parts.layers.size()),
                static_cast<index_t>(to.layers.size()));
    for (std::size_t i = 0; i < to.layers.size(); ++i) {
      const auto& l = to.layers[i];
      const auto& other = parts.layers[i];
      if (other.may->saved_numbers &&
          other.may->saved_numbers(other.layer) != other.may->numbers(other.layer))
        throw error("to: " + other.path + ": expected a decoration that leaves the base alone, found " +
                    std::string(other.may->method) + " that took a part of it");
      if (l.may->renumber)
        l.may->renumber(l.layer, other.may->numbers(other.layer));
      if (l.may->dropped)
        l.may->dropped(l.layer) = other.may->dropped(other.layer);
    }
  }
  initialize_decorations(model.network, from.initial_seed);  // sizes may be others now
  model.parameters = gather(model.network);
  model.initial_seed = from.initial_seed;
  model.departed = from.departed;
  const auto to = list_parts(model.network);
  const auto parts = list_parts(from.network);
  expect_size("to: parameters", static_cast<index_t>(parts.parameters.size()),
              static_cast<index_t>(to.parameters.size()));
  for (std::size_t i = 0; i < to.parameters.size(); ++i)
    take_values(to.parameters[i], parts.parameters[i]);
  base_filled(to);
}

}  // namespace graft::detail
