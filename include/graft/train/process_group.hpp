// SPDX-License-Identifier: MIT
// Processes that train one model together.
#pragma once

#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

namespace graft {

// Each has a copy of the model and of the data, and must call the same functions in the same order.
struct process_group {
  virtual ~process_group() = default;

  virtual int rank() const = 0;  // of this process, from 0
  virtual int size() const = 0;
  // values = their sum over all processes, the same bits in each of them.
  virtual void sum(std::span<float> values) = 0;
  virtual void sum(std::span<double> values) = 0;
  // What process `from` has, in all of them.
  virtual void broadcast(std::span<std::byte> bytes, int from) = 0;
};

// values = their sum over all processes, wherever they lie.
template <class B>
void sum_values(process_group& all, typename B::parameter& values) {
  if constexpr (std::is_same_v<typename B::parameter::value_type, typename B::scalar>) {
    all.sum(std::span(values.data, static_cast<std::size_t>(values.size())));
  } else {  // beyond the host's reach
    std::vector<typename B::scalar> numbers = B::on_host(values);
    all.sum(std::span(numbers));
    B::from_host(values, numbers);
  }
}

}  // namespace graft
