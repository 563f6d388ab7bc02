// SPDX-License-Identifier: MIT
// Values for what is frozen in a model that comes from no file.
#pragma once

#include <graft/core/part_list.hpp>
#include <graft/core/random.hpp>

#include <cstddef>
#include <memory>
#include <vector>

namespace graft_test {

// `base` and normal numbers, around 1 in norms; equal in every call.
template <class Model>
void fill_frozen(Model& model, double base = 0) {
  using scalar = typename Model::backend_type::scalar;
  graft::random_stream random(3);
  for (const auto& p : graft::list_parts(model.network).parameters)
    if (p.weight) {
      auto values = std::make_shared<std::vector<scalar>>(static_cast<std::size_t>(p.size()));
      const double mean = base + (p.kind == graft::parameter_kind::norm_weight ? 1 : 0);
      for (scalar& v : *values)
        v = static_cast<scalar>(mean + 0.4 * random.normal());
      p.weight->data = values->data();
      p.weight->owner = values;
    }
}

}  // namespace graft_test
