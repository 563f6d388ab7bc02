// SPDX-License-Identifier: MIT
// How a training begins, as a number: to find out whether two begin alike.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/random.hpp>
#include <graft/train/process_group.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace graft::detail {

// Of a model's frozen and trained values (a part of large ones), the numbers of its decorations, its
// seed and dropout, and of the objective's numbers.
template <class Model, class B>
std::uint64_t hash_of_start(const Model& model, const part_list<B>& parts,
                            const std::vector<std::pair<std::string, double>>& objective) {
  std::uint64_t hash = mix(model.initial_seed);
  const auto add = [&](std::string_view bytes) { hash = mix(hash ^ hash_of(bytes)); };
  const auto add_numbers = [&](const auto* values, std::size_t n) {
    add({reinterpret_cast<const char*>(values), n * sizeof(*values)});
  };
  constexpr std::size_t most = 4096;
  for (const auto& p : parts.parameters) {
    add(p.path);
    const auto n = p.data() ? static_cast<std::size_t>(p.size()) : 0;
    add_numbers(p.data(), std::min(n, most));
    if (n > most)
      add_numbers(p.data() + (n - most), most);
  }
  for (const auto& l : parts.layers)
    if (l.may->numbers)
      for (const auto& [name, value] : l.may->numbers(l.layer)) {
        add(name);
        add_numbers(&value, 1);
      }
  if constexpr (requires { model.config.hidden_dropout; }) {
    const auto& c = model.config;
    for (const double rate : {c.hidden_dropout, c.attention_dropout, c.head_dropout})
      add_numbers(&rate, 1);
  }
  for (const auto& [name, value] : objective) {
    add(name);
    add_numbers(&value, 1);
  }
  return hash;
}

// Processes that are not alike would train nonsense, or wait for each other for ever. Throws error in
// all of them where `own` is not the first one's everywhere.
inline void expect_same_start(process_group& processes, const std::array<std::uint64_t, 4>& own) {
  std::array<std::uint64_t, 4> first = own;
  processes.broadcast(std::as_writable_bytes(std::span(first)), 0);
  double others = own == first ? 0 : 1;
  processes.sum(std::span(&others, 1));
  if (others > 0)
    throw error("training: expected the same model, examples and seed in all processes, found "
                "others than the first one's in " + std::to_string(static_cast<int>(others)));
}

}  // namespace graft::detail
