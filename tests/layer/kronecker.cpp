// SPDX-License-Identifier: MIT
// layer/kronecker.hpp, matrix_bank.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/layer/kronecker.hpp>

#include <string_view>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"

namespace graft_test {

namespace {

template <class Whole, class Left, class Right>
struct names {
  using whole = Whole;
  using left = Left;
  using right = Right;
};
template <int Number>
struct tag {
  static constexpr std::string_view name = std::string_view("abcdef").substr(Number, 1);
  static constexpr bool decays = true;
};
template <class B>
using product_sum = kronecker<B, names<tag<0>, tag<1>, tag<2>>, names<tag<3>, tag<4>, tag<5>>>;

}  // namespace

TEMPLATE_TEST_CASE("a sum of Kronecker products has the gradients of its formula", "", cpu<double>,
                   reference<double>) {
  const layout rows = sequences({1, 3, 2});
  for (index_t rule_rank : {0, 1})
    for (index_t weight_rank : {0, 1, 3}) {
      INFO("ranks " << rule_rank << " and " << weight_rank);
      check_layer(product_sum<TestType>(6, 4, 2, rule_rank, weight_rank, true), rows);
    }
  check_layer(product_sum<TestType>(6, 9, 3, 0, 1, false), rows);
  check_layer(product_sum<TestType>(4, 3, 1, 0, 2, true), rows);
}

TEST_CASE("a sum of Kronecker products is that of its formula") {
  using B = reference<double>;
  product_sum<B> l(4, 6, 2, 1, 2, true);
  randomize(l, 3);
  host_workspace memory;
  const layout rows = separate_rows(1);
  const context<B> k{memory, rows};
  const auto r = l.rule.matrices(k), w = l.weight.matrices(k);  // [2, 4] and [2, 6]
  const auto x = random_tensor<B>(memory, 1, 4, 5);
  cache_t<product_sum<B>, nothing_wanted> none;
  const auto y = l.forward<nothing_wanted>(x, none, k);
  for (index_t b = 0; b < 2; ++b)
    for (index_t d = 0; d < 3; ++d) {
      double sum = l.bias(0, b * 3 + d);
      for (index_t i = 0; i < 2; ++i)
        for (index_t a = 0; a < 2; ++a)
          for (index_t c = 0; c < 2; ++c)
            sum += x(0, a * 2 + c) * r(i, a * 2 + b) * w(i, c * 3 + d);
      CHECK(y(0, b * 3 + d) == Approx(sum));
    }
  CHECK(w(1, 2) == Approx(l.weight.left(1, 0) * l.weight.right(1, 2) +
                          l.weight.left(1, 1) * l.weight.right(1, 5)));
}

TEST_CASE("the number of rules divides the widths of a sum of Kronecker products") {
  CHECK_THROWS_AS((product_sum<cpu<double>>(6, 4, 4, 0, 1, true)), shape_error);
  CHECK_THROWS_AS((product_sum<cpu<double>>(4, 6, 4, 0, 1, true)), shape_error);
}

}  // namespace graft_test
