// SPDX-License-Identifier: MIT
// The kernels as the host calls them. They are compiled in kernels.cu, by nvcc, for each type that is
// listed here; everything else of graft is ordinary C++.
#pragma once

#include <graft/backend/cuda/kernels/attention.hpp>
#include <graft/backend/cuda/kernels/columns.hpp>
#include <graft/backend/cuda/kernels/elementwise.hpp>
#include <graft/backend/cuda/kernels/image.hpp>
#include <graft/backend/cuda/kernels/loss.hpp>
#include <graft/backend/cuda/kernels/quantized.hpp>
#include <graft/backend/cuda/kernels/rows.hpp>
#include <graft/backend/cuda/kernels/sequences.hpp>
#include <graft/backend/cuda/kernels/thin_product.hpp>
#include <graft/backend/cuda/kernels/tiled_attention.hpp>
#include <graft/backend/cuda/kernels/tiled_attention_keys.hpp>
#include <graft/backend/cuda/kernels/tiled_attention_queries.hpp>
#include <graft/backend/cuda/kernels/update.hpp>

#include <cuda_runtime_api.h>

// kernel(i, j) for every row and column.
#define GRAFT_ELEMENT_KERNELS(X)                                                                     \
  X(copy) X(fill) X(scale) X(add_scaled) X(multiply) X(add_row) X(multiply_row) X(multiply_column)   \
  X(divide_by_root) X(activate) X(add_row_activate) X(activate_backward) X(dropout) X(sum_block)     \
  X(dot_block) X(norm_gain_block) X(fold) X(gather) X(scatter_add) X(pool_first)                     \
  X(pool_first_backward) X(pool_mean) X(pool_mean_backward) X(scale_sequences) X(prepend)            \
  X(prepend_backward_rows) X(prepend_backward_prompt) X(patches) X(patches_backward) X(sgd_update)   \
  X(adam_update) X(scale_by) X(dequantize_bf16) X(dequantize_int8) X(dequantize_nf4)

// kernel(warp, i) for every i.
#define GRAFT_WARP_KERNELS(X)                                                                        \
  X(dot_rows) X(normalize_rows) X(round_rows) X(softmax) X(layer_norm) X(add_layer_norm)             \
  X(layer_norm_backward) X(attention) X(attention_queries) X(attention_keys) X(dot_sequences)        \
  X(cross_entropy) X(squared_error) X(mean_loss) X(squares_block) X(judge_step) X(fold_thin_sums)    \
  X(thin_product<bf16>) X(thin_product<fp16>) X(thin_inner_product<bf16>)                            \
  X(thin_inner_product<fp16>) X(thin_sums<bf16>) X(thin_sums<fp16>)

// kernel(block, i) for every i; of each type of 16 bits and size of heads.
#define GRAFT_BLOCK_KERNELS(X) \
  GRAFT_HEADS(X, tiled_attention) GRAFT_HEADS(X, tiled_attention_queries) \
  GRAFT_HEADS(X, tiled_attention_keys)
#define GRAFT_HEADS(X, name) \
  X(name, bf16, 32) X(name, bf16, 64) X(name, bf16, 128) \
  X(name, fp16, 32) X(name, fp16, 64) X(name, fp16, 128)

namespace graft::detail {

// Queues a kernel on a stream; returns what the runtime says to that.
template <class Kernel>
cudaError_t launch_elements(cudaStream_t stream, index_t rows, index_t cols, const Kernel& kernel);
template <class Kernel>
cudaError_t launch_warps(cudaStream_t stream, index_t n, const Kernel& kernel);
// Was what the current device runs compiled with kernels of blocks in it?
bool can_launch_blocks();
// Of Kernel::warps warps each, with Kernel::shared_bytes of memory in common.
template <class Kernel>
cudaError_t launch_blocks(cudaStream_t stream, index_t n, const Kernel& kernel);

}  // namespace graft::detail
