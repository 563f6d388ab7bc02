// SPDX-License-Identifier: MIT
// Tunings without any grafted part.
#pragma once

#include <graft/core/site.hpp>
#include <graft/tuning/recipe.hpp>

namespace graft_test {

struct everything_trained {
  static constexpr graft::recipe rules{graft::on(graft::at::everything, graft::train{})};
};
struct biases_trained {
  static constexpr graft::recipe rules{
      graft::on(graft::at::everything, graft::train{graft::biases})};
};

}  // namespace graft_test
