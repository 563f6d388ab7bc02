// SPDX-License-Identifier: MIT
// Everything of graft that nvcc compiles: the kernels' launches (launch.hpp).
#include <graft/backend/cuda/launch.hpp>

#include <algorithm>

namespace graft::detail {

namespace {

constexpr index_t threads = 256;
constexpr index_t most_blocks_down = 65535, most_blocks_along = 1 << 30;

// Lanes of a warp lie along a row.
template <class Kernel>
__global__ void run_elements(Kernel kernel, index_t rows, index_t cols) {
  const index_t down = index_t{gridDim.y} * blockDim.y, along = index_t{gridDim.x} * blockDim.x;
  for (index_t i = index_t{blockIdx.y} * blockDim.y + threadIdx.y; i < rows; i += down)
    for (index_t j = index_t{blockIdx.x} * blockDim.x + threadIdx.x; j < cols; j += along)
      kernel(i, j);
}

template <class Kernel>
__global__ void run_warps(Kernel kernel, index_t n) {
  const index_t in_block = blockDim.x / warp::size;
  const warp w{static_cast<int>(threadIdx.x % warp::size)};
  for (index_t i = blockIdx.x * in_block + threadIdx.x / warp::size; i < n;
       i += gridDim.x * in_block)
    kernel(w, i);
}

// Empty for devices before 8.0, which lack the instructions.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::warps* warp::size, Kernel::blocks)
    run_blocks(Kernel kernel) {
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 800
  extern __shared__ uint4 shared[];
  kernel(warp_block<Kernel::warps>{reinterpret_cast<std::byte*>(shared),
                                   static_cast<int>(threadIdx.x / warp::size),
                                   static_cast<int>(threadIdx.x % warp::size)},
         index_t{blockIdx.x});
#endif
}

}  // namespace

template <class Kernel>
cudaError_t launch_elements(cudaStream_t stream, index_t rows, index_t cols, const Kernel& kernel) {
  index_t wide = 1;
  while (wide < cols && wide < threads)
    wide *= 2;
  const index_t high = threads / wide;
  const dim3 block(static_cast<unsigned>(wide), static_cast<unsigned>(high));
  const dim3 grid(
      static_cast<unsigned>(std::min<index_t>((cols + wide - 1) / wide, most_blocks_along)),
      static_cast<unsigned>(std::min<index_t>((rows + high - 1) / high, most_blocks_down)));
  run_elements<<<grid, block, 0, stream>>>(kernel, rows, cols);
  return cudaGetLastError();
}

template <class Kernel>
cudaError_t launch_warps(cudaStream_t stream, index_t n, const Kernel& kernel) {
  constexpr index_t in_block = threads / warp::size;
  const auto blocks =
      static_cast<unsigned>(std::min<index_t>((n + in_block - 1) / in_block, most_blocks_along));
  run_warps<<<blocks, static_cast<unsigned>(threads), 0, stream>>>(kernel, n);
  return cudaGetLastError();
}

bool can_launch_blocks() {
  cudaFuncAttributes facts;
  const bool known =
      cudaFuncGetAttributes(&facts, run_blocks<kernels::tiled_attention<bf16, 32>>) == cudaSuccess;
  cudaGetLastError();
  return known && facts.ptxVersion >= 80;
}

template <class Kernel>
cudaError_t launch_blocks(cudaStream_t stream, index_t n, const Kernel& kernel) {
  static_assert(Kernel::shared_bytes <= 48 << 10, "more must be asked for");
  if (n > most_blocks_along)
    return cudaErrorInvalidConfiguration;
  run_blocks<<<static_cast<unsigned>(n), Kernel::warps * warp::size, Kernel::shared_bytes, stream>>>(
      kernel);
  return cudaGetLastError();
}

#define GRAFT_INSTANTIATE(name)                                                             \
  template cudaError_t launch_elements<kernels::name>(cudaStream_t, index_t, index_t,       \
                                                      const kernels::name&);
GRAFT_ELEMENT_KERNELS(GRAFT_INSTANTIATE)
#undef GRAFT_INSTANTIATE

#define GRAFT_INSTANTIATE(name) \
  template cudaError_t launch_warps<kernels::name>(cudaStream_t, index_t, const kernels::name&);
GRAFT_WARP_KERNELS(GRAFT_INSTANTIATE)
#undef GRAFT_INSTANTIATE

#define GRAFT_INSTANTIATE(name, type, size)                                         \
  template cudaError_t launch_blocks<kernels::name<type, size>>(cudaStream_t, index_t, \
                                                                const kernels::name<type, size>&);
GRAFT_BLOCK_KERNELS(GRAFT_INSTANTIATE)
#undef GRAFT_INSTANTIATE

}  // namespace graft::detail
