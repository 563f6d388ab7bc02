// SPDX-License-Identifier: MIT
// Processes that train one model together.
#pragma once

#include <cstddef>
#include <span>

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

}  // namespace graft
