// SPDX-License-Identifier: MIT
// The numbers of a decoration that may be decided at run time.
#pragma once

#include <optional>

namespace graft {

// In place of what a recipe is written with; what is not set stays. A decorated layer takes them with
// renumber() before its parameters are initialised, and tells its own with numbers().
struct decoration_numbers {
  std::optional<int> rank{}, width{}, inner{};
  std::optional<float> alpha{}, scale{}, dropout{};
};

}  // namespace graft
