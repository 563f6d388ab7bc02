// SPDX-License-Identifier: MIT
// How graft-similarity tunes a sentence encoder, and graft-encode opens what it wrote.
#pragma once

#include <graft/tuning/lora.hpp>
#include <graft/tuning/recipe.hpp>

namespace programs {

struct encoder_tuning {
  static constexpr graft::recipe rules{
      graft::on(graft::at::query | graft::at::value, graft::lora{.rank = graft::dynamic, .alpha = 16})};
};

}  // namespace programs
