// SPDX-License-Identifier: MIT
// Factors taken out of the weight, at a static rank: the saved rank is twice as large.
// expect: graft: lora.rank must be graft::dynamic with init pissa or olora
#include <graft/tuning/lora.hpp>
#include <graft/tuning/recipe.hpp>

using namespace graft;

struct wrong {
  static constexpr recipe rules{on(at::query, lora{.rank = 4, .init = lora_init::pissa})};
};
static_assert(tuning<wrong>);
