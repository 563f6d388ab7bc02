// SPDX-License-Identifier: MIT
// The engines that this machine has, each against the reference: whole products over views into larger
// matrices, those cut into tiles, and those with frozen weights in 16 and 8 bits.
#include <graft/backend/cpu/engine/eigen.hpp>
#include <graft/backend/cpu/stored_product.hpp>
#include <graft/backend/cpu/tiles.hpp>
#include <graft/backend/reference.hpp>
#include <graft/core/quantized.hpp>
#ifdef GRAFT_TEST_ONEDNN
#include <graft/backend/cpu/engine/onednn.hpp>
#endif
#ifdef GRAFT_TEST_BLAS
#include <graft/backend/cpu/engine/blas.hpp>
#endif

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "backend/sheet.hpp"
#include "support/catch.hpp"

namespace graft_test::engines {

using namespace graft;
using graft::index_t;

// Rows, columns and depth of outputs: nothing, one of each, beside the sizes that kernels like, a batch's.
constexpr std::array<std::array<index_t, 3>, 10> sizes{
    {{0, 4, 3}, {3, 4, 0}, {1, 1, 1}, {1, 384, 70}, {70, 1, 50}, {7, 5, 3}, {64, 48, 32}, {65, 49, 33},
     {200, 8, 384}, {339, 200, 96}}};

template <class T>
constexpr double tolerance = sizeof(T) == 4 ? 2e-5 : 1e-13;

struct oracle {
  template <class T>
  static void product(detail::product_form form, matrix_view<T> y, matrix_view<const T> x,
                      matrix_view<const T> w, T s, bool add) {
    if (form == detail::product_form::nt)
      reference<T>::product_nt(y, x, w, s, add);
    else if (form == detail::product_form::nn)
      reference<T>::product_nn(y, x, w, s, add);
    else
      reference<T>::product_tn(y, x, w, s, add);
  }
};

template <class Engine, class T>
void check_products() {
  random_stream rng(3);
  for (const auto [rows, cols, depth] : sizes)
    for (int i = 0; i < 12; ++i) {
      const auto form = static_cast<detail::product_form>(i % 3);
      const bool add = i / 3 % 2 == 1;
      const index_t guard = i < 6 ? 3 : 0;
      CAPTURE(rows, cols, depth, i);
      const auto made = [&](bool turned, index_t r, index_t c) {
        return turned ? random_sheet<T>(rng, c, r, 1, guard) : random_sheet<T>(rng, r, c, 1, guard);
      };
      const auto x = made(form == detail::product_form::tn, rows, depth);
      const auto w = made(form == detail::product_form::nt, depth, cols);
      auto expected = add ? random_sheet<T>(rng, rows, cols, 1, guard) : poisoned<T>(rows, cols, guard);
      auto found = expected;
      oracle::product<T>(form, expected, x, w, T(0.7), add);
      Engine::template product<T>(form, found, x, w, T(0.7), add);
      CHECK(distance(found, expected) < tolerance<T>);
      CHECK(found.guards_untouched());
    }
}

TEST_CASE("eigen's products are the reference's") {
  check_products<detail::eigen_engine, float>();
  check_products<detail::eigen_engine, double>();
}
#ifdef GRAFT_TEST_ONEDNN
TEST_CASE("oneDNN's products are the reference's") {
  check_products<detail::onednn_engine, float>();
  check_products<detail::onednn_engine, double>();
}
#endif
#ifdef GRAFT_TEST_ONEDNN
// What a matrix is once its numbers have 16 bits.
sheet<float> rounded(const sheet<float>& x) {
  sheet<float> y = x;
  dequantize<float>(y, quantize_bf16<const float>(x));
  return y;
}

TEST_CASE("oneDNN's products of 16-bit numbers are those of what they stand for, on any number of threads") {
  if (!detail::onednn_engine::has_bf16()) {
    WARN("no products of 16-bit numbers on this processor");
    return;
  }
  random_stream rng(5);
  const index_t before = threads();
  for (const auto [rows, cols, depth] : sizes)
    for (const bool transposed : {true, false})
      for (const bool with_bias : {false, true}) {
        if (rows * cols * depth == 0)
          continue;
        CAPTURE(rows, cols, depth, transposed, with_bias);
        const auto x = random_sheet<float>(rng, rows, depth);
        const auto w = random_sheet<float>(rng, transposed ? cols : depth, transposed ? depth : cols);
        const auto b = random_sheet<float>(rng, 1, cols);
        sheet<float> expected(rows, cols);
        for (index_t i = 0; i < rows; ++i)
          for (index_t j = 0; j < cols; ++j)
            expected(i, j) = with_bias ? b(0, j) : 0;
        const auto form = transposed ? detail::product_form::nt : detail::product_form::nn;
        oracle::product<float>(form, expected, rounded(x), rounded(w), 1, true);
        for (const index_t all : {1, 3}) {
          set_threads(all);
          auto found = poisoned<float>(rows, cols, 0);
          REQUIRE(detail::bf16_product<detail::onednn_engine>(found, x, quantize_bf16<const float>(w), transposed,
                                                              with_bias ? b.data() : nullptr));
          CHECK(distance(found, expected) < tolerance<float>);
        }
        // Rows that do not lie one behind the other are left to others.
        auto apart = poisoned<float>(rows, cols);
        const bool done = detail::bf16_product<detail::onednn_engine>(apart, x, quantize_bf16<const float>(w),
                                                                      transposed, nullptr);
        CHECK(done == (rows == 1));
      }
  set_threads(before);
}

// The product of the codes of x and w, each element summed in 64 bits.
sheet<float> product_of_codes(const sheet<float>& x, const int8_matrix& w, const float* bias) {
  sheet<float> y(x.rows, w.rows);
  std::vector<std::int8_t> q(static_cast<std::size_t>(w.cols));
  for (index_t i = 0; i < x.rows; ++i) {
    const float scale = round_to_int8(q.data(), matrix_view<const float>(x).row(i), w.cols);
    for (index_t j = 0; j < w.rows; ++j) {
      std::int64_t sum = 0;
      for (index_t k = 0; k < w.cols; ++k)
        sum += q[static_cast<std::size_t>(k)] * w.q[static_cast<std::size_t>(j * w.cols + k)];
      y(i, j) = static_cast<float>(sum) * w.row_scale[static_cast<std::size_t>(j)] * scale;
      if (bias)
        y(i, j) += bias[j];
    }
  }
  return y;
}

TEST_CASE("oneDNN's products of 8-bit numbers are exact, on any number of threads") {
  if (!detail::onednn_engine::has_int8()) {
    WARN("no products of 8-bit numbers on this processor");
    return;
  }
  random_stream rng(6);
  const index_t before = threads();
  for (const auto [rows, cols, depth] : sizes)
    for (const bool with_bias : {false, true}) {
      if (depth == 0)
        continue;
      CAPTURE(rows, cols, depth, with_bias);
      auto x = random_sheet<float>(rng, rows, depth);
      auto w = random_sheet<float>(rng, cols, depth);
      if (rows > 2) {  // sums as large as can be, of both signs
        matrix_view<float> all = x;
        std::fill_n(all.row(0), depth, 3.0f);
        std::fill_n(all.row(1), depth, -3.0f);
        std::fill_n(matrix_view<float>(w).row(0), depth, 2.0f);
      }
      const auto b = random_sheet<float>(rng, 1, cols);
      const int8_matrix codes = quantize_int8<const float>(w);
      const auto expected = product_of_codes(x, codes, with_bias ? b.data() : nullptr);
      for (const index_t all : {1, 3}) {
        set_threads(all);
        auto found = poisoned<float>(rows, cols);
        REQUIRE(detail::int8_product<detail::onednn_engine>(found, x, codes, with_bias ? b.data() : nullptr));
        CHECK(distance(found, expected) <= (with_bias ? 1e-6 : 0));
        CHECK(found.guards_untouched());
      }
    }
  set_threads(before);
}

TEST_CASE("sums that 32 bits may have no room for are left to others, and rows that are not finite show") {
  if (!detail::onednn_engine::has_int8())
    return;
  const index_t most = 133'144;  // times 127² below 2³¹
  for (const index_t depth : {most, most + 1}) {
    sheet<float> x(1, depth), w(1, depth);
    x.fill(1);
    w.fill(-1);
    auto y = poisoned<float>(1, 1);
    CHECK(detail::int8_product<detail::onednn_engine>(y, x, quantize_int8<const float>(w), nullptr) ==
          (depth == most));
    if (depth == most)
      CHECK(std::abs(y(0, 0) / static_cast<float>(-most) - 1) < 1e-6);
  }
  sheet<float> w(4, 3);
  w.fill(1);
  for (const float odd : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    sheet<float> x(2, 3), y(2, 4);
    x.fill(0);
    x(1, 1) = odd;
    REQUIRE(detail::int8_product<detail::onednn_engine>(y, x, quantize_int8<const float>(w), nullptr));
    CHECK(y(0, 3) == 0);
    CHECK(std::isnan(y(1, 0)));
  }
}

TEST_CASE("an engine without products of 16-bit and 8-bit numbers makes none") {
  const sheet<float> x(2, 3), w(4, 3);
  sheet<float> y(2, 4, 0);
  y.fill(1);
  CHECK_FALSE(detail::bf16_product<detail::eigen_engine>(y, x, quantize_bf16<const float>(w), true, nullptr));
  CHECK_FALSE(detail::int8_product<detail::eigen_engine>(y, x, quantize_int8<const float>(w), nullptr));
  CHECK(y(1, 3) == 1);
}
#endif
#ifdef GRAFT_TEST_BLAS
TEST_CASE("the BLAS' products are the reference's") {
  check_products<detail::blas_engine, float>();
  check_products<detail::blas_engine, double>();
}
#endif

TEST_CASE("tiles cover an output once, on any number of threads") {
  const index_t before = threads();
  for (const index_t all : {1, 2, 3, 8})
    for (const auto [rows, cols] :
         {std::array<index_t, 2>{1, 1}, {0, 5}, {339, 384}, {2048, 1536}, {8, 3072}, {3072, 8}}) {
      set_threads(all);
      CAPTURE(all, rows, cols);
      std::vector<int> times(static_cast<std::size_t>(rows * cols));
      std::atomic<int> tiles{0};
      detail::for_each_tile(rows, cols, 384, [&, rows = rows, cols = cols](const detail::tile& t) {
        ++tiles;
        const auto part = t.of(matrix_view<int>(times.data(), rows, cols));
        for (index_t i = 0; i < part.rows; ++i)
          for (index_t j = 0; j < part.cols; ++j)
            ++part(i, j);
      });
      CHECK(times == std::vector<int>(times.size(), 1));
      if (rows * cols > 100'000)
        CHECK((all == 1 ? tiles == 1 : tiles >= 2 * all));
    }
  set_threads(before);
}

}  // namespace graft_test::engines
