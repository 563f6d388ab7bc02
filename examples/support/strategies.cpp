// SPDX-License-Identifier: MIT
// The menu of strategies.
#include "support/session.hpp"

#include <algorithm>

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

std::span<const strategy* const> strategies() {
  using namespace menu;
  static constexpr const strategy* all[] = {
      &full,           &head,     &top2,     &bitfit,          &lora,         &lora_fa,
      &lora_plus,      &pissa,    &olora,    &qlora,           &dora,         &vera,
      &adalora,        &ia3,      &prompt,   &p_tuning,        &prefix,       &prefix_mlp,
      &houlsby,        &pfeiffer, &parallel, &scaled_parallel, &adapter_plus, &compacter,
      &compacter_plus, &skip,     &loreft,   &lora_pfeiffer,   &mam,          &unipelt};
  return all;
}

const strategy* find_strategy(std::string_view name) {
  const auto all = strategies();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const strategy* s) { return s->name == name; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace programs
