// SPDX-License-Identifier: MIT
// A few warps that share memory, a block of a GPU, or a loop on the host. They work in phases: what one
// writes to shared memory the others may read in the next phase.
#pragma once

#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cstddef>
#include <cstring>

namespace graft {

// Something for each warp of a block, kept from phase to phase. On a GPU a warp has its own alone.
template <class T, int Warps>
struct per_warp {
#ifdef __CUDA_ARCH__
  T own{};
  __device__ T& operator[](int) { return own; }
#else
  T all[Warps]{};
  T& operator[](int number) { return all[number]; }
#endif
};

template <int Warps>
struct warp_block {
  std::byte* shared = nullptr;  // aligned to 16 bytes
  int warp_number = 0;          // on a GPU: of the warp that runs this …
  int lane = 0;                 // … and of its lane
  bool backwards = false;       // on the host: the last warp comes first

  // A phase: f(warp, its number) for each.
  template <class F>
  GRAFT_DEVICE void warps(const F& f) const {
#ifdef __CUDA_ARCH__
    f(warp{lane}, warp_number);
    __syncthreads();
#else
    for (int n = 0; n < Warps; ++n)
      f(warp{}, backwards ? Warps - 1 - n : n);
#endif
  }
};

// Bytes (8 or 16, aligned to as many) to shared memory, zeros unless `there`. They have arrived when the
// lane that asked has waited.
template <int Bytes>
GRAFT_DEVICE void copy_async(void* to, const void* from, bool there) {
#ifdef __CUDA_ARCH__
  const auto shared = static_cast<unsigned>(__cvta_generic_to_shared(to));
  const int bytes = there ? Bytes : 0;
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from), "r"(bytes)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(from), "n"(Bytes),
                 "r"(bytes)
                 : "memory");
#else
  if (there)
    std::memcpy(to, from, Bytes);
  else
    std::memset(to, 0, Bytes);
#endif
}
GRAFT_DEVICE inline void wait_for_copies() {
#ifdef __CUDA_ARCH__
  asm volatile("cp.async.wait_all;" ::: "memory");
#endif
}

}  // namespace graft
