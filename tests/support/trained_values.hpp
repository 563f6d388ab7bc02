// SPDX-License-Identifier: MIT
// The trained part of a model, as numbers.
#pragma once

#include <vector>

namespace graft_test {

template <class Model>
std::vector<typename Model::backend_type::scalar> trained_values(const Model& model) {
  const auto& values = model.parameters.values;
  return {values.data, values.data + values.size()};
}

}  // namespace graft_test
