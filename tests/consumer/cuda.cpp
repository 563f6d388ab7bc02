// SPDX-License-Identifier: MIT
// A user's program with the GPU backend: without a device it says so.
#include <graft/cuda.hpp>

#include <cstdio>

graft::index_t trained_numbers();

int main() {
  try {
    return trained_numbers() == 4 * 8 * (16 + 16) + 2 * 17 ? 0 : 1;
  } catch (const graft::device_error& e) {
    std::puts(e.what());
    return graft::has_cuda_device() ? 1 : 0;
  }
}
