// SPDX-License-Identifier: MIT
// A user's decoration that says nowhere what it makes of a layer.
// expect: graft: this decoration does not fit the layer at this site
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/occupant.hpp>

using namespace graft;

struct scaled {
  float factor = 1;
};
struct wrong {
  static constexpr recipe rules{on(at::query, scaled{.factor = 2})};
};
leaf<scope<wrong>, at::query_t, linear<cpu<float>>> query;
