// SPDX-License-Identifier: MIT
// Products by cuBLASLt.
#pragma once

#include <graft/backend/cuda/product_plan.hpp>

#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include <cublasLt.h>

namespace graft::detail {

constexpr cudaDataType_t cuda_type(number_type t) {
  return t == number_type::f32 ? CUDA_R_32F : t == number_type::bf16 ? CUDA_R_16BF : CUDA_R_16F;
}

constexpr cublasComputeType_t compute_type(const product_plan& plan) {
  return plan.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
}

// The products of one thread. What a plan needs, the algorithm above all, is asked for once: the
// heuristic's first answer. Sums are of floats, those of parts too, so that equal calls give equal bits; TF32
// is taken where the product allows it.
class lt_products {
 public:
  // Queues a product; CUBLAS_STATUS_NOT_SUPPORTED where the library has no algorithm for it. The workspace
  // is the stream's.
  cublasStatus_t run(cublasLtHandle_t handle, cudaStream_t stream, void* workspace, std::size_t bytes,
                     const device_product& p, const product_plan& plan) {
    if (known_.size() == most)
      known_.clear();
    const auto [found, is_new] = known_.try_emplace(plan);
    call& c = found->second;
    if (is_new)
      if (const auto status = prepare(c, handle, bytes, plan); status != CUBLAS_STATUS_SUCCESS) {
        known_.erase(found);
        return status;
      }
    if (!c.possible)
      return CUBLAS_STATUS_NOT_SUPPORTED;
    if (plan.bias)
      if (const auto status = set(c, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias.data);
          status != CUBLAS_STATUS_SUCCESS)
        return status;
    const float s = p.s, keep = p.add ? 1.0f : 0.0f;
    return cublasLtMatmul(handle, &c.product, &s, p.w.data, &c.a, p.x.data, &c.b, &keep, p.y.data, &c.d,
                          p.y.data, &c.d, &c.algorithm, workspace, c.workspace, stream);
  }

 private:
  static constexpr std::size_t most = 4096;  // plans, of less than a kilobyte each

  struct call {
    cublasLtMatmulDescOpaque_t product{};
    cublasLtMatrixLayoutOpaque_t a{}, b{}, d{};
    cublasLtMatmulAlgo_t algorithm{};
    std::size_t workspace = 0;
    bool possible = false;
  };

  template <class V>
  static cublasStatus_t set(call& c, cublasLtMatmulDescAttributes_t what, const V& value) {
    return cublasLtMatmulDescSetAttribute(&c.product, what, &value, sizeof(value));
  }

  static cublasStatus_t prepare(call& c, cublasLtHandle_t handle, std::size_t bytes,
                                const product_plan& plan) {
    cublasStatus_t worst = CUBLAS_STATUS_SUCCESS;
    const auto done = [&](cublasStatus_t status) {
      if (worst == CUBLAS_STATUS_SUCCESS)
        worst = status;
    };
    const auto op = [](bool turn) -> std::int32_t { return turn ? CUBLAS_OP_T : CUBLAS_OP_N; };
    const auto layout = [&](cublasLtMatrixLayoutOpaque_t& l, number_type t, bool turn, index_t rows,
                            index_t cols, index_t stride) {
      done(cublasLtMatrixLayoutInit(&l, cuda_type(t), static_cast<std::uint64_t>(turn ? cols : rows),
                                    static_cast<std::uint64_t>(turn ? rows : cols), stride));
    };
    done(cublasLtMatmulDescInit(&c.product, compute_type(plan), CUDA_R_32F));
    done(set(c, CUBLASLT_MATMUL_DESC_TRANSA, op(plan.turn_a)));
    done(set(c, CUBLASLT_MATMUL_DESC_TRANSB, op(plan.turn_b)));
    layout(c.a, plan.in, plan.turn_a, plan.m, plan.k, plan.lda);
    layout(c.b, plan.in, plan.turn_b, plan.k, plan.n, plan.ldb);
    layout(c.d, plan.out, false, plan.m, plan.n, plan.ldd);
    if (plan.bias) {
      // The heuristic looks how an address is aligned, and at no more.
      done(set(c, CUBLASLT_MATMUL_DESC_EPILOGUE, std::int32_t{CUBLASLT_EPILOGUE_BIAS}));
      done(set(c, CUBLASLT_MATMUL_DESC_BIAS_POINTER, std::uintptr_t{16}));
      done(set(c, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, static_cast<std::int32_t>(cuda_type(plan.out))));
    }

    cublasLtMatmulPreferenceOpaque_t wish{};
    const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t what, auto value) {
      done(cublasLtMatmulPreferenceSetAttribute(&wish, what, &value, sizeof(value)));
    };
    done(cublasLtMatmulPreferenceInit(&wish));
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{bytes});
    prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
           std::uint32_t{CUBLASLT_REDUCTION_SCHEME_NONE | CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE});
    for (const auto alignment :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES})
      prefer(alignment, std::uint32_t{16});
    if (worst != CUBLAS_STATUS_SUCCESS)
      return worst;

    cublasLtMatmulHeuristicResult_t answer{};
    int answers = 0;
    const auto status = cublasLtMatmulAlgoGetHeuristic(handle, &c.product, &c.a, &c.b, &c.d, &c.d, &wish, 1,
                                                       &answer, &answers);
    if (status != CUBLAS_STATUS_SUCCESS && status != CUBLAS_STATUS_NOT_SUPPORTED)
      return status;
    c.possible = status == CUBLAS_STATUS_SUCCESS && answers == 1 && answer.state == CUBLAS_STATUS_SUCCESS;
    c.algorithm = answer.algo;
    c.workspace = answer.workspaceSize;
    return CUBLAS_STATUS_SUCCESS;
  }

  std::unordered_map<product_plan, call, hash_of_plan> known_;
};

}  // namespace graft::detail
