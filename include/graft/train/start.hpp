// SPDX-License-Identifier: MIT
// How a training begins, as numbers: to find out whether two begin alike.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/part_list.hpp>
#include <graft/core/plain.hpp>
#include <graft/core/random.hpp>
#include <graft/train/examples.hpp>
#include <graft/train/fit_options.hpp>
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
    const listed_values<B> found(p);
    const auto values = found.values();
    add_numbers(values.data(), std::min(values.size(), most));
    if (values.size() > most)
      add_numbers(values.last(most).data(), most);
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
  if constexpr (requires { model.labels; })
    for (const auto& label : model.labels)
      add(label);
  for (const auto& [name, value] : objective) {
    add(name);
    add_numbers(&value, 1);
  }
  return hash;
}

// Of all that is trained or judged on.
GRAFT_PLAIN std::uint64_t hash_of_examples(std::span<const example> data);

GRAFT_PLAIN std::uint64_t hash_of_options(const fit_options& o);

// Processes that are not alike would train nonsense, or wait for each other for ever. Throws error in
// all of them, naming `what` must be alike, where `own` is not the first one's everywhere.
GRAFT_PLAIN void expect_same(process_group& processes, std::span<const std::uint64_t> own,
                             const std::string& what);

}  // namespace graft::detail

#if GRAFT_BODIES

namespace graft::detail {

GRAFT_PLAIN std::uint64_t hash_of_examples(std::span<const example> data) {
  std::uint64_t hash = mix(data.size());
  const auto add = [&](const auto& values) {
    const auto bytes = std::as_bytes(std::span(values));
    hash = mix(hash ^ bytes.size());
    hash = mix(hash ^ hash_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  };
  for (const example& e : data) {
    add(e.ids);
    add(e.types);
    add(e.labels);
    add(e.second);
    const answer_place& a = e.answer;
    add(std::array<std::int32_t, 10>{e.label, static_cast<std::int32_t>(e.task), a.first, a.last,
                                     static_cast<std::int32_t>(a.question), a.context_row,
                                     a.context_rows, a.context_token, a.true_first, a.true_last});
    add(std::array<double, 1>{e.target});
  }
  return hash;
}

GRAFT_PLAIN std::uint64_t hash_of_options(const fit_options& o) {
  std::uint64_t hash = mix(hash_of(o.monitor) ^ mix(o.seed));
  for (const auto& [name, value] : numbers_of(o))
    hash = mix(hash ^ hash_of(name) ^
               mix(hash_of({reinterpret_cast<const char*>(&value), sizeof value})));
  return hash;
}

GRAFT_PLAIN void expect_same(process_group& processes, std::span<const std::uint64_t> own,
                             const std::string& what) {
  std::vector<std::uint64_t> first(own.begin(), own.end());
  processes.broadcast(std::as_writable_bytes(std::span(first)), 0);
  double others = std::equal(own.begin(), own.end(), first.begin()) ? 0 : 1;
  processes.sum(std::span(&others, 1));
  if (others > 0)
    throw error("training: expected " + what + " to be the same in all processes, found others than "
                "the first one's in " + std::to_string(static_cast<int>(others)));
}

}  // namespace graft::detail

#endif
