// SPDX-License-Identifier: MIT
// Examples packed into a batch to be trained on.
#pragma once

#include <graft/core/error.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/fit_options.hpp>
#include <graft/train/objective.hpp>
#include <graft/train/padding.hpp>
#include <graft/train/step_work.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace graft::detail {

// A batch as the model takes it.
template <class Input>
struct packed_batch {
  std::vector<std::uint32_t> examples;  // their numbers
  Input input;
  truth wanted;
  double weight = 0;
  index_t tokens = 0;
};

// This process's share of the chosen examples of `data`: of examples of like length each gets some.
// Augmented and, over a backend that makes steps, padded where the options say so. Throws input_error
// for an augmented example that the objective cannot take.
template <class B, class Objective, class Input>
void pack_share(std::span<const example> data, std::span<const std::uint32_t> chosen, int epoch,
                const fit_options& options, const Objective& what, std::int32_t first_position,
                packed_batch<Input>& p) {
  const process_group* all = options.processes;
  const auto ranks = static_cast<std::size_t>(all ? all->size() : 1);
  p.examples.clear();
  p.input.clear();
  p.wanted.clear();
  for (auto at = static_cast<std::size_t>(all ? all->rank() : 0); at < chosen.size(); at += ranks) {
    const std::uint32_t i = chosen[at];
    const example_turn turn{i, options.seed, epoch};
    p.examples.push_back(i);
    if (!options.augment) {
      what.add(data[i], turn, first_position, p.input, p.wanted);
      continue;
    }
    example e = data[i], changed = e;
    options.augment(i, epoch, changed);
    e.ids = std::move(changed.ids);
    e.types = std::move(changed.types);
    if (e.ids.empty())
      throw input_error("fit_options.augment: example " + std::to_string(i) +
                        ": expected tokens, found none left");
    what.check(std::span(&e, 1));
    what.add(e, turn, first_position, p.input, p.wanted);
  }
  p.weight = what.weight(p.wanted);
  p.tokens = p.input.rows.rows();
  if constexpr (makes_steps<B> &&
                requires { what.pad(index_t{}, std::int32_t{}, p.input, p.wanted); })
    if (options.padded)
      for (const index_t length : padding_of(p.input.rows))
        what.pad(length, first_position, p.input, p.wanted);
}

}  // namespace graft::detail
