// SPDX-License-Identifier: MIT
// Matrix products by oneDNN, which takes the best instructions of the processor that the program runs on; of
// doubles, which it does not know, by Eigen.
#pragma once

#include <graft/backend/cpu/engine/eigen.hpp>
#include <graft/backend/cpu/engine/onednn_matmul.hpp>
#include <graft/core/error.hpp>

#include <cstdint>
#include <string_view>
#include <type_traits>

#include <dnnl.hpp>

namespace graft::detail {

// fp32 and int8 products are plain functions: for all sizes, with nothing to make or to keep beforehand. Those
// of 16-bit numbers are primitives.
struct onednn_engine {
  static constexpr std::string_view name = "onednn";

  template <class T>
  static void product(product_form form, matrix_view<T> y, matrix_view<const T> x, matrix_view<const T> w,
                      T s, bool add) {
    if constexpr (std::is_same_v<T, float>)
      if (const index_t depth = depth_of(form, x); depth > 0 && y.size() > 0) {
        dnnl_sgemm(form == product_form::tn ? 'T' : 'N', form == product_form::nt ? 'T' : 'N', y.rows, y.cols,
                   depth, s, x.data, x.stride, w.data, w.stride, add ? 1.0f : 0.0f, y.data, y.stride);
        return;
      }
    eigen_engine::product<T>(form, y, x, w, s, add);
  }

  // Has the processor products of 16-bit numbers?
  static bool has_bf16() {
    static const bool has = has_instructions(dnnl::cpu_isa::avx512_core_bf16);
    return has;
  }
  // y = x op(w) + bias (engine/onednn_matmul.hpp).
  static void bf16_product(float* y, const std::uint16_t* x, const std::uint16_t* w, index_t rows, index_t cols,
                           index_t depth, bool transposed, const float* bias) {
    onednn_matmuls::of_thread().multiply(y, x, w, rows, cols, depth, transposed, bias);
  }

  // Has the processor products of 8-bit numbers summed in 32 bits? (Older ones sum pairs in 16 first, which
  // saturate.)
  static bool has_int8() {
    static const bool has = has_instructions(dnnl::cpu_isa::avx512_core_vnni);
    return has;
  }
  // y [rows, cols] = x [rows, depth] wᵀ, w [cols, depth], all dense, exact; numbers within ±127.
  static void int8_product(std::int32_t* y, const std::int8_t* x, const std::int8_t* w, index_t rows,
                           index_t cols, index_t depth) {
    const std::int32_t zero = 0;
    if (dnnl_gemm_s8s8s32('N', 'T', 'F', rows, cols, depth, 1, x, depth, 0, w, depth, 0, 0, y, cols, &zero) !=
        dnnl_success)
      throw error("oneDNN: a product of 8-bit numbers failed");
  }

 private:
  static bool has_instructions(dnnl::cpu_isa wanted) {
    const auto all = static_cast<unsigned>(wanted);
    return (static_cast<unsigned>(dnnl::get_effective_cpu_isa()) & all) == all;
  }
};

}  // namespace graft::detail
