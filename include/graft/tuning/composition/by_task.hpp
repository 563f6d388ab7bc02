// SPDX-License-Identifier: MIT
// An adapter for each of several tasks.
#pragma once

#include <graft/core/error.hpp>
#include <graft/core/layout.hpp>
#include <graft/tuning/composition/members.hpp>
#include <graft/tuning/composition/split.hpp>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace graft::compose {

// The sequences of task 0 go to a, those of task 1 to b, … (example.task, layout.tasks). With
// task_classifier each of them has a head of its own; AdapterHub's Parallel is that over a batch
// which holds every text once for each task.
//
// | option    | meaning                              | default      |
// | adapters  | how many, called a, b, c, …          | 2            |
// | each      | what each of them is, and where      | bottleneck{} |
//
// Throws input_error for a sequence of a task without an adapter.
struct by_task {
  int adapters = 2;
  bottleneck each{};

  static constexpr std::string_view name = "by_task";

  constexpr void check() const { detail::check_composition(adapters, each); }
  constexpr bool row_by_row() const { return each.row_by_row(); }
  template <class F>
  constexpr void describe(F&& f) const {
    f("adapters", adapters);
    each.describe(f);
  }
  void share(const layout& batch, std::span<row_share> of) const {
    for (index_t s = 0; s < batch.sequences(); ++s) {
      const std::uint32_t task = batch.task(s);
      if (task >= of.size())
        throw input_error("by_task: expected sequences of tasks below " +
                          std::to_string(of.size()) + ", found one of task " +
                          std::to_string(task));
      of[task].take(batch, s);
    }
  }

  template <class L, class Site, auto Spec>
  static constexpr bool fits = bottleneck::fits<L, Site, Spec.each>;
  template <class L, class Site, auto Spec>
  struct misfit : bottleneck::misfit<L, Site, Spec.each> {};
  template <class L, auto Spec>
  struct applied {
    using here = detail::composed<L, Spec.each>;
    using type = typename here::template with<
        split_adapters<typename here::adapter, Spec.adapters, by_task>>::type;
  };
  template <class L, auto Spec>
  using apply = typename applied<L, Spec>::type;
};

}  // namespace graft::compose
