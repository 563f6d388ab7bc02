// SPDX-License-Identifier: MIT
// A row-major product in the terms of a BLAS, whose matrices are column-major.
#pragma once

#include <graft/backend/cuda/product.hpp>

#include <cstddef>
#include <cstdint>

namespace graft {

// D [m, n] = op(A) [m, k] · op(B) [k, n], each with its leading dimension. Row-major y = op(x) op(w) is
// column-major yᵀ = op(w)ᵀ op(x)ᵀ, and a row-major matrix read by columns is its own transpose: A is w as it
// lies, B is x, D is y, and a bias along y's rows runs down D's columns.
struct product_plan {
  index_t m, n, k;
  index_t lda, ldb, ldd;
  bool turn_a, turn_b;
  bool bias;
  number_type in, out;
  bool aligned;  // 16 bytes: every pointer and leading dimension
  bool tf32;

  friend bool operator==(const product_plan&, const product_plan&) = default;
};

namespace detail {

inline bool aligned16(const_device_view v) {
  return reinterpret_cast<std::uintptr_t>(v.data) % 16 == 0 && v.stride * bytes_of(v.type) % 16 == 0;
}

}  // namespace detail

inline product_plan plan_of(const device_product& p) {
  const bool aligned = detail::aligned16(p.y) && detail::aligned16(p.x) && detail::aligned16(p.w) &&
                       reinterpret_cast<std::uintptr_t>(p.bias.data) % 16 == 0;
  return {p.y.cols, p.y.rows, p.inner(), p.w.stride, p.x.stride, p.y.stride, p.turn_w, p.turn_x,
          p.bias.data != nullptr, p.x.type, p.y.type, aligned, p.tf32 && p.x.type == number_type::f32};
}

struct hash_of_plan {
  std::size_t operator()(const product_plan& p) const {
    std::uint64_t h = 0;
    for (const index_t v : {p.m, p.n, p.k, p.lda, p.ldb, p.ldd,
                            index_t{p.turn_a} | index_t{p.turn_b} << 1 | index_t{p.bias} << 2 |
                                index_t{p.aligned} << 3 | static_cast<index_t>(p.in) << 4 |
                                static_cast<index_t>(p.out) << 6 | index_t{p.tf32} << 8}) {
      h = (h ^ static_cast<std::uint64_t>(v)) * 0x9e3779b97f4a7c15u;
      h ^= h >> 32;
    }
    return static_cast<std::size_t>(h);
  }
};

}  // namespace graft
