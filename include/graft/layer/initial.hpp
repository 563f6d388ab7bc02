// SPDX-License-Identifier: MIT
// Initial values of the parameters that a checkpoint would hold.
#pragma once

#include <graft/core/view.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>
#include <vector>

namespace graft {

// Sets every element to value(). A frozen weight is given memory of its own.
template <class B, class Weight, std::invocable Value>
void set_values(Weight& weight, Value&& value) {
  using scalar = typename B::scalar;
  const auto values = std::make_shared<std::vector<scalar>>(static_cast<std::size_t>(weight.size()));
  for (scalar& v : *values)
    v = static_cast<scalar>(value());
  if constexpr (std::is_same_v<Weight, typename B::parameter>)
    B::from_host(weight, *values);
  else
    weight = Weight(values->data(), weight.rows, weight.cols, values);
}

}  // namespace graft
