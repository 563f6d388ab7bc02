// SPDX-License-Identifier: MIT
// The engine of the CPU backend: who computes its matrix products. A compile-time choice: Eigen, or what
// GRAFT_CPU_ENGINE_ONEDNN or GRAFT_CPU_ENGINE_BLAS says, which CMake's GRAFT_CPU_ENGINE defines.
//
// An engine E has, for T = float and double, of any strides:
//
//   E::name                                   for those who report
//   E::product(form, V y, C x, C w, s, add)   y = s · x wᵀ, x w or xᵀ w (engine/product_form.hpp); y += with add
//
// and may have E::has_bf16() and E::bf16_product, E::has_int8() and E::int8_product (engine/onednn.hpp), for
// products in the numbers of bf16_matrix and int8_matrix. All are on the calling thread: the backend cuts
// products into tiles or pieces and shares those out itself (cpu/product.hpp, cpu/stored_product.hpp).
#pragma once

#include <graft/core/view.hpp>

#if defined(GRAFT_CPU_ENGINE_ONEDNN)
#include <graft/backend/cpu/engine/onednn.hpp>
namespace graft::detail {
using engine = onednn_engine;
}
#elif defined(GRAFT_CPU_ENGINE_BLAS)
#include <graft/backend/cpu/engine/blas.hpp>
namespace graft::detail {
using engine = blas_engine;
}
#else
#include <graft/backend/cpu/engine/eigen.hpp>
namespace graft::detail {
using engine = eigen_engine;
}
#endif
