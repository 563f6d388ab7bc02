// SPDX-License-Identifier: MIT
// Products and transposes of small matrices, of any sizes beside those of packets and blocks of registers.
#include <graft/backend/cpu/small_product.hpp>
#include <graft/backend/reference.hpp>
#include <graft/core/random.hpp>

#include "support/catch.hpp"

#include "sheet.hpp"

namespace graft_test::small_product_tests {

using namespace graft;

TEMPLATE_TEST_CASE("small products are the reference's", "", float, double) {
  using T = TestType;
  random_stream rng(1);
  for (const index_t rows : {1, 3, 8, 13})
    for (const index_t cols : {1, 7, 16, 37, 96})
      for (const index_t depth : {0, 1, 5, 64})
        for (const bool add : {false, true})
          for (const bool turned : {false, true}) {
            CAPTURE(rows, cols, depth, add, turned);
            const auto x = turned ? random_sheet<T>(rng, depth, rows) : random_sheet<T>(rng, rows, depth);
            const auto w = random_sheet<T>(rng, depth, cols);
            auto expected = random_sheet<T>(rng, rows, cols);
            auto found = expected;
            const matrix_view<const T> factor = x;
            if (turned) {
              reference<T>::product_tn(expected, x, w, T(0.7), add);
              detail::small_product<true, T>(found, detail::transposed(factor), w, T(0.7), add);
            } else {
              reference<T>::product_nn(expected, x, w, T(0.7), add);
              detail::small_product<false, T>(found, detail::as_it_is(factor), w, T(0.7), add);
            }
            CHECK(distance(found, expected) < (sizeof(T) == 4 ? 2e-5 : 1e-13));
          }
}

TEMPLATE_TEST_CASE("a transpose is filled up with zeros", "", float, double) {
  using T = TestType;
  random_stream rng(2);
  for (const index_t rows : {0, 1, 8, 16, 37})
    for (const index_t cols : {1, 7, 16, 33})
      for (const index_t more : {0, 5}) {
        CAPTURE(rows, cols, more);
        const auto x = random_sheet<T>(rng, rows, cols);
        auto y = poisoned<T>(cols, rows + more);
        detail::transpose<T>(y, x, T(-2));
        for (index_t i = 0; i < cols; ++i)
          for (index_t j = 0; j < rows + more; ++j)
            REQUIRE(y(i, j) == (j < rows ? T(-2) * x(j, i) : T(0)));
      }
}

}  // namespace graft_test::small_product_tests
