// SPDX-License-Identifier: MIT
// Products of 16 × 16 numbers of 16 bits, summed in floats, by the tensor cores of a warp (PTX ISA,
// mma.m16n8k16 and ldmatrix) or by loops on the host over the same places.
//
// Lane l = 4 g + t has of a 16 × 16 matrix its rows g and g + 8, of each the columns 2 t, 2 t + 1, 2 t + 8
// and 2 t + 9: see row_of and column_of. Of a right factor it has those places of the transpose, the words
// 1 and 2 in each other's stead.
#pragma once

#include <graft/backend/cuda/numbers.hpp>
#include <graft/backend/cuda/warp.hpp>
#include <graft/core/device_code.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace graft::kernels {

// A lane's share of a factor: word j is its numbers 2 j and 2 j + 1.
struct factor_share {
  std::uint32_t of[4];
};
// A lane's share of a sum.
struct sum_share {
  float of[8];
};

// The place of a lane's number i.
GRAFT_DEVICE constexpr int row_of(int lane, int i) { return lane / 4 + 8 * (i / 2 % 2); }
GRAFT_DEVICE constexpr int column_of(int lane, int i) {
  return 2 * (lane % 4) + 8 * (i / 4) + i % 2;
}

// Two numbers side by side in memory, the first one in the lower half; at an even place.
template <class T>
GRAFT_DEVICE std::uint32_t load_pair(const T* from) {
#ifdef __CUDA_ARCH__
  return *reinterpret_cast<const std::uint32_t*>(from);
#else
  return from[0].bits | std::uint32_t{from[1].bits} << 16;
#endif
}
template <class T>
GRAFT_DEVICE void store_pair(T* to, std::uint32_t pair) {
#ifdef __CUDA_ARCH__
  *reinterpret_cast<std::uint32_t*>(to) = pair;
#else
  to[0].bits = static_cast<std::uint16_t>(pair);
  to[1].bits = static_cast<std::uint16_t>(pair >> 16);
#endif
}
template <class T>
GRAFT_DEVICE std::uint32_t pair_of(float low, float high) {
#ifdef __CUDA_ARCH__
  std::uint32_t pair;
  if constexpr (std::is_same_v<T, bf16>)
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  else
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
#else
  return number_from<T>(low).bits | std::uint32_t{number_from<T>(high).bits} << 16;
#endif
}
template <class T>
GRAFT_DEVICE factor_share rounded(const sum_share& s) {
  factor_share f;
  GRAFT_UNROLL
  for (int j = 0; j < 4; ++j)
    f.of[j] = pair_of<T>(s.of[2 * j], s.of[2 * j + 1]);
  return f;
}

// 2ˣ to a few units in the last place.
GRAFT_DEVICE inline float quick_exp2(float x) {
#ifdef __CUDA_ARCH__
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return std::exp2(x);
#endif
}

// Lane l = 8 i + r names row r of matrix i of 8 × 8 numbers in shared memory; word i of lane l is then of
// matrix i at row l / 4, columns 2 (l % 4) and the next; turned: at those rows and column l / 4.
template <bool Turned, class T, class Row>
GRAFT_DEVICE per_lane<factor_share> load_matrices(warp w, const Row& row) {
  per_lane<factor_share> f;
#ifdef __CUDA_ARCH__
  const auto from = static_cast<unsigned>(__cvta_generic_to_shared(row(w.lane)));
  auto& of = f.own.of;
  if constexpr (Turned)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(of[0]), "=r"(of[1]), "=r"(of[2]), "=r"(of[3])
                 : "r"(from));
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(of[0]), "=r"(of[1]), "=r"(of[2]), "=r"(of[3])
                 : "r"(from));
#else
  w.lanes([&](int l) {
    for (int i = 0; i < 4; ++i) {
      const int a = l / 4, b = 2 * (l % 4);
      const T low = Turned ? row(8 * i + b)[a] : row(8 * i + a)[b];
      const T high = Turned ? row(8 * i + b + 1)[a] : row(8 * i + a)[b + 1];
      f[l].of[i] = low.bits | std::uint32_t{high.bits} << 16;
    }
  });
#endif
  return f;
}

// A right factor out of the 16 × 16 numbers at x, which lie row after row at a stride: those numbers …
template <class T>
GRAFT_DEVICE per_lane<factor_share> right_factor(warp w, const T* x, int stride) {
  return load_matrices<true, T>(w, [&](int l) {
    return x + (l % 8 + l / 8 % 2 * 8) * stride + l / 16 * 8;
  });
}
// … and their transpose.
template <class T>
GRAFT_DEVICE per_lane<factor_share> right_factor_transposed(warp w, const T* x, int stride) {
  return load_matrices<false, T>(w, [&](int l) {
    return x + (l % 8 + l / 16 * 8) * stride + l / 8 % 2 * 8;
  });
}

namespace detail {

// c [16, 8] += a [16, 16] b [16, 8], of the numbers 4 Half … of c and the words 2 Half … of b.
template <class T, int Half>
GRAFT_DEVICE void multiply_add(warp w, per_lane<sum_share>& c, const per_lane<factor_share>& a,
                               const per_lane<factor_share>& b) {
#ifdef __CUDA_ARCH__
  float* const s = c.own.of + 4 * Half;
  const std::uint32_t* const x = a.own.of;
  const std::uint32_t* const y = b.own.of + 2 * Half;
  if constexpr (std::is_same_v<T, bf16>)
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
  else
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(s[0]), "+f"(s[1]), "+f"(s[2]), "+f"(s[3])
                 : "r"(x[0]), "r"(x[1]), "r"(x[2]), "r"(x[3]), "r"(y[0]), "r"(y[1]));
#else
  const auto number = [](const std::uint32_t (&words)[4], int i) {
    return to_float(T{static_cast<std::uint16_t>(words[i / 2] >> (i % 2 * 16))});
  };
  // a: numbers 0, 1 of row g, 2, 3 of row g + 8, 4 … 7 the same 8 columns on; b: numbers 0, 1 of column
  // g at rows 2 t and the next, 2, 3 of it 8 rows on; c: 0, 1 of row g, 2, 3 of row g + 8.
  float left[16][16], right[16][8];
  w.lanes([&](int l) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 8; ++i)
      left[g + (i / 2 % 2 == 1 ? 8 : 0)][2 * t + i % 2 + (i >= 4 ? 8 : 0)] = number(a[l].of, i);
    for (int i = 0; i < 4; ++i)
      right[2 * t + i % 2 + (i >= 2 ? 8 : 0)][g] = number(b[l].of, 4 * Half + i);
  });
  w.lanes([&](int l) {
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i)
      for (int k = 0; k < 16; ++k)
        c[l].of[4 * Half + i] += left[g + (i >= 2 ? 8 : 0)][k] * right[k][2 * t + i % 2];
  });
#endif
}

}  // namespace detail

// c [16, 16] += a [16, 16] b [16, 16]
template <class T>
GRAFT_DEVICE void add_product(warp w, per_lane<sum_share>& c, const per_lane<factor_share>& a,
                              const per_lane<factor_share>& b) {
  detail::multiply_add<T, 0>(w, c, a, b);
  detail::multiply_add<T, 1>(w, c, a, b);
}

}  // namespace graft::kernels
