// SPDX-License-Identifier: MIT
// The GPU backend: cuda<float>; cuda<tf32>, the same with products in TF32; cuda<bf16> and cuda<fp16>, whose
// tensors and frozen matrices have numbers of 16 bits. Programs that use it link graft::cuda, which brings the
// kernels.
#pragma once

#include <graft/backend/cuda/cuda_device.hpp>
#include <graft/backend/cuda/gpu.hpp>

namespace graft {

template <class T>
using cuda = gpu<T, cuda_device>;

static_assert(backend<cuda<float>> && backend<cuda<tf32>> && backend<cuda<bf16>> && backend<cuda<fp16>>);

}  // namespace graft
