// SPDX-License-Identifier: MIT
// The menu of strategies.
#include "support/session.hpp"

#include <algorithm>

namespace programs {

std::span<const strategy* const> strategies() {
  using namespace menu;
  static constexpr const strategy* all[] = {
      &full, &head, &top2, &bitfit, &lora, &houlsby, &pfeiffer, &parallel, &skip, &lora_pfeiffer};
  return all;
}

const strategy* find_strategy(std::string_view name) {
  const auto all = strategies();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const strategy* s) { return s->name == name; });
  return found == all.end() ? nullptr : *found;
}

}  // namespace programs
