// SPDX-License-Identifier: MIT
// What a column-major BLAS is told of a row-major product: done as told, by a plain loop, it is that product.
#include <graft/backend/cuda/product_plan.hpp>
#include <graft/core/random.hpp>

#include <array>
#include <cstddef>
#include <set>
#include <vector>

#include "backend/sheet.hpp"
#include "support/emulated_device.hpp"

namespace graft_test::product_plans {

using namespace graft;
using graft::index_t;

namespace {

// D = s op(A) op(B) (+ D) + bias, column-major, from nothing but the plan and the addresses.
void as_told(const product_plan& p, const float* a, const float* b, float* d, const float* bias, float s,
             bool add) {
  for (index_t i = 0; i < p.m; ++i)
    for (index_t j = 0; j < p.n; ++j) {
      float sum = 0;
      for (index_t k = 0; k < p.k; ++k)
        sum += (p.turn_a ? a[k + i * p.lda] : a[i + k * p.lda]) *
               (p.turn_b ? b[j + k * p.ldb] : b[k + j * p.ldb]);
      float& y = d[i + j * p.ldd];
      y = s * sum + (add ? y : 0.0f) + (p.bias ? bias[i] : 0.0f);
    }
}

}  // namespace

TEST_CASE("a product as a column-major BLAS is told it is the row-major one") {
  random_stream rng(31);
  for (const auto& [rows, cols, inner] :
       std::vector<std::array<index_t, 3>>{{1, 1, 1}, {5, 3, 2}, {4, 16, 8}, {7, 1, 9}, {1, 6, 4}})
    for (const index_t guard : {0, 3})
      for (const bool turn_x : {false, true})
        for (const bool turn_w : {false, true})
          for (const bool add : {false, true})
            for (const bool with_bias : {false, true}) {
              INFO(rows << " × " << cols << " over " << inner << ", turned " << turn_x << turn_w);
              const auto x =
                  random_sheet<float>(rng, turn_x ? inner : rows, turn_x ? rows : inner, 1, guard);
              const auto w =
                  random_sheet<float>(rng, turn_w ? cols : inner, turn_w ? inner : cols, 1, guard + 1);
              const auto bias = random_sheet<float>(rng, 1, cols);
              auto y = random_sheet<float>(rng, rows, cols, 1, guard + 2);
              auto expected = y;
              const float s = 0.5f;
              for (index_t i = 0; i < rows; ++i)
                for (index_t j = 0; j < cols; ++j) {
                  float sum = 0;
                  for (index_t k = 0; k < inner; ++k)
                    sum += (turn_x ? x(k, i) : x(i, k)) * (turn_w ? w(j, k) : w(k, j));
                  expected(i, j) =
                      s * sum + (add ? expected(i, j) : 0.0f) + (with_bias ? bias(0, j) : 0.0f);
                }
              device_product p{matrix_view<float>(y), matrix_view<const float>(x), matrix_view<const float>(w),
                               turn_x, turn_w, s, add};
              if (with_bias)
                p.bias = matrix_view<const float>(bias);
              const product_plan plan = plan_of(p);
              CHECK(plan.in == number_type::f32);
              CHECK(plan.out == number_type::f32);
              as_told(plan, w.data(), x.data(), y.data(), bias.data(), s, add);
              CHECK(distance(y, expected) <= 1e-6);
              CHECK(y.guards_untouched());
            }
}

TEST_CASE("a product is aligned where every address and stride is") {
  alignas(16) static unsigned char memory[4096];
  const auto at = [&](index_t byte, index_t stride, number_type t) {
    return device_view(memory + byte, 8, 8, stride, t);
  };
  const auto aligned = [](device_view y, device_view x, device_view w, const_device_view bias = {}) {
    return plan_of({y, x, w, false, true, 1, false, bias}).aligned;
  };
  for (const number_type t : {number_type::f32, number_type::bf16, number_type::f16}) {
    const index_t whole = 16 / bytes_of(t);  // numbers in 16 bytes
    const device_view good = at(0, 8, t);
    CHECK(aligned(good, good, good));
    CHECK(aligned(good, at(32, 8 + whole, t), good, at(16, 8, t)));
    for (const device_view bad : {at(bytes_of(t), 8, t), at(0, 8 + whole / 2, t), at(8, 8, t)}) {
      CHECK_FALSE(aligned(bad, good, good));
      CHECK_FALSE(aligned(good, bad, good));
      CHECK_FALSE(aligned(good, good, bad));
    }
    CHECK_FALSE(aligned(good, good, good, at(bytes_of(t), 8, t)));
  }
}

// What it is asked for, the emulated device computes in floats.
struct noting_runtime : emulated_runtime {
  static inline bool tf32 = false;
  static void product(const device_product& p) {
    tf32 = plan_of(p).tf32;
    emulated_runtime::product(p);
  }
};

TEST_CASE("TF32 is for those who ask for it, and for floats") {
  const auto asked = []<class T>(T) {
    using B = gpu<T, recorded_device<noting_runtime>>;
    typename B::workspace memory;
    const auto x = B::make(memory, 40, 40), y = B::make(memory, 40, 40);
    B::fill(x, 1);
    noting_runtime::tf32 = false;
    B::product_nt(y, x, x, 1, false);
    CHECK(B::on_host(y) == std::vector<float>(1600, 40));
    return noting_runtime::tf32;
  };
  CHECK(asked(tf32{}));
  CHECK_FALSE(asked(float{}));
  CHECK_FALSE(asked(bf16{}));
}

TEST_CASE("plans that differ in one thing are different and hash apart") {
  const product_plan first{8,    16,    24,    24,                24,                8,
                           true, false, false, number_type::bf16, number_type::bf16, true, false};
  std::vector<product_plan> all(14, first);
  all[1].m = 9;
  all[2].n = 17;
  all[3].k = 25;
  all[4].lda = 32;
  all[5].ldb = 32;
  all[6].ldd = 16;
  all[7].turn_a = false;
  all[8].turn_b = true;
  all[9].bias = true;
  all[10].in = number_type::f16;
  all[11].out = number_type::f32;
  all[12].aligned = false;
  all[13].tf32 = true;
  std::set<std::size_t> hashes;
  for (std::size_t i = 0; i < all.size(); ++i) {
    hashes.insert(hash_of_plan{}(all[i]));
    for (std::size_t j = 0; j < all.size(); ++j)
      CHECK((all[i] == all[j]) == (i == j));
  }
  CHECK(hashes.size() == all.size());
}

}  // namespace graft_test::product_plans
