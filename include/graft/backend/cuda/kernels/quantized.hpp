// SPDX-License-Identifier: MIT
// Kernels that make a dense matrix of one in fewer bits: kernel(i, j) for every row i and column j.
#pragma once

#include <graft/backend/cuda/device_view.hpp>
#include <graft/core/device_code.hpp>
#include <graft/core/quantized.hpp>

namespace graft::kernels {

struct dequantize_bf16 {
  device_view y;
  bf16_view w;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, w(i, j)); }
};

struct dequantize_int8 {
  device_view y;
  int8_view w;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, w(i, j)); }
};

struct dequantize_nf4 {
  device_view y;
  nf4_view w;
  GRAFT_DEVICE void operator()(index_t i, index_t j) const { y.set(i, j, w(i, j)); }
};

}  // namespace graft::kernels
