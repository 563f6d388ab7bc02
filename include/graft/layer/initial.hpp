// SPDX-License-Identifier: MIT
// Initial values of the parameters that a checkpoint would hold.
#pragma once

#include <graft/core/view.hpp>

#include <concepts>
#include <type_traits>
#include <utility>

namespace graft {

// Sets every element to value(). A frozen weight is given memory of its own.
template <class B, class Weight, std::invocable Value>
void set_values(Weight& weight, Value&& value) {
  typename B::parameter p;
  if constexpr (std::is_same_v<Weight, typename B::parameter>)
    p = weight;
  else
    p = typename B::parameter(weight.rows, weight.cols);
  for (index_t i = 0; i < p.size(); ++i)
    p.data[i] = static_cast<typename B::scalar>(value());
  weight = Weight(std::move(p));
}

}  // namespace graft
