// SPDX-License-Identifier: MIT
// The menu of strategies.
#include "support/session.hpp"

#include <algorithm>
#include <array>

namespace programs {

graft::fit_report session::fit(std::span<const graft::example> data,
                               std::span<const graft::example> dev,
                               const graft::fit_options& options,
                               const std::function<void(const graft::fit_progress&)>& observe) {
  const auto run = train(data, dev, options);
  while (!run->over())
    observe(run->advance());
  return run->finish();
}

// A build may have fewer (GRAFT_EXAMPLES_STRATEGIES).
#ifndef GRAFT_PROGRAM_STRATEGIES
#define GRAFT_PROGRAM_STRATEGIES                                                                  \
  full, head, top2, bitfit, lora, lora_fa, lora_plus, pissa, olora, qlora, dora, vera, adalora,   \
      ia3, prompt, p_tuning, prefix, prefix_mlp, houlsby, pfeiffer, parallel, scaled_parallel,    \
      adapter_plus, compacter, compacter_plus, skip, loreft, lora_pfeiffer, mam, unipelt
#endif

namespace {

template <class... S>
constexpr std::array<const strategy*, sizeof...(S)> pointers_to(const S&... s) {
  return {&s...};
}

}  // namespace

std::span<const strategy* const> strategies() {
  using namespace menu;
  static constexpr auto all = pointers_to(GRAFT_PROGRAM_STRATEGIES);
  return all;
}

const strategy* find_strategy(std::string_view name) {
  const auto all = strategies();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const strategy* s) { return s->name == name; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace programs
