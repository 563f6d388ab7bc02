// SPDX-License-Identifier: MIT
// train/correlation.hpp. Expected values are those of scipy 1.17.1, stats.pearsonr and spearmanr.
#include <graft/train/correlation.hpp>

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "support/catch.hpp"

using namespace graft;

namespace {

using series = std::vector<double>;

const series digits{3, 1, 4, 1, 5, 9, 2, 6};
const series others{2, 7, 1, 8, 2, 8, 1, 8};
constexpr double digits_pearson = 0.2096553190730121;
constexpr double digits_spearman = 0.19885368120992467;

series scaled(const series& v, double factor, double offset = 0) {
  series r;
  for (double x : v)
    r.push_back(factor * x + offset);
  return r;
}

Approx near(double value) { return Approx(value).epsilon(1e-13); }

}  // namespace

TEST_CASE("both correlations are scipy's") {
  const series a{-0.93, -0.03, 0.7, -1.34, -0.46, -1.9, -1.29, -1.84, -0.24, -1.27, 0.27};
  const series b{-0.4, -0.2, -2.1, -1.34, -0.32, -1.03, -2.3, -1.58, -1.12, -1.57, 1.22};
  CHECK(pearson(a, b) == near(0.36232013179329053));
  CHECK(spearman(a, b) == near(0.33636363636363636));
  CHECK(pearson(b, a) == near(0.36232013179329053));
  CHECK(spearman(b, a) == near(0.33636363636363636));
}

TEST_CASE("equal values share the mean of their ranks") {
  const series a{1, 3, 1, 2, 0, 3, 4, 3, 0, 2, 1, 4};
  const series b{2, -3, 1, 1, 3, -1, -2, -3, 2, -1, -1, -4};
  CHECK(pearson(a, b) == near(-0.8754128668236029));
  CHECK(spearman(a, b) == near(-0.8844995897540078));
  CHECK(spearman(digits, others) == near(digits_spearman));
}

TEST_CASE("Spearman's asks for the order alone") {
  const series a{0.1, 5, -3, 2, 40};
  CHECK(spearman(a, series{std::exp(0.1), std::exp(5), std::exp(-3), std::exp(2), std::exp(40)}) ==
        near(1));
  CHECK(spearman(a, series{0, -7, 1e300, -2, -std::numeric_limits<double>::infinity()}) ==
        near(-1));
}

TEST_CASE("a great offset takes no digits") {
  CHECK(pearson(digits, others) == near(digits_pearson));
  for (const double offset : {1e9, -1e15})
    CHECK(pearson(scaled(digits, 1, offset), scaled(others, 1, offset)) == near(digits_pearson));
}

TEST_CASE("squares neither overflow nor vanish") {
  for (const double factor : {1e300, 1e-300})
    for (const double other : {1e300, 1.0, 1e-300}) {
      CHECK(pearson(scaled(digits, factor), scaled(others, other)) == near(digits_pearson));
      CHECK(pearson(scaled(digits, -factor), scaled(others, other)) == near(-digits_pearson));
    }
}

TEST_CASE("no correlation is beyond 1") {
  // Whose quotients rounding makes 1 + 2e-16.
  const std::pair<series, series> cases[] = {{{3, 7, 7, 9}, {0.6, 1.4, 1.4, 1.8}},
                                             {{5, 9, 9, 0}, {2, 3.6, 3.6, 0}},
                                             {{7, 3, 3, 3, 6}, {2.1, 0.9, 0.9, 0.9, 1.8}}};
  for (const auto& [a, b] : cases) {
    CHECK(pearson(a, b) == near(1));
    CHECK(pearson(a, b) <= 1);
    CHECK(pearson(a, scaled(b, -1)) >= -1);
  }
}

TEST_CASE("two values correlate fully") {
  CHECK(pearson(series{1, 2}, series{-4, 100}) == near(1));
  CHECK(pearson(series{1, 2}, series{1, 1 - 1e-15}) == near(-1));
  CHECK(spearman(series{2, 1}, series{3, 7}) == near(-1));
}

TEST_CASE("a constant side, one value and none have correlations of 0") {
  const series constant(8, 0.1);  // whose mean need not be 0.1
  CHECK(pearson(constant, digits) == 0);
  CHECK(pearson(digits, constant) == 0);
  CHECK(pearson(constant, constant) == 0);
  CHECK(spearman(constant, digits) == 0);
  CHECK(spearman(digits, constant) == 0);
  CHECK(pearson(series{2}, series{3}) == 0);
  CHECK(spearman(series{2}, series{3}) == 0);
  CHECK(pearson(series{}, series{}) == 0);
  CHECK(spearman(series{}, series{}) == 0);
}

TEST_CASE("what is not a number is not hidden") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  CHECK(std::isnan(pearson(series{1, nan, 3}, series{1, 2, 3})));
  CHECK(std::isnan(pearson(series{1, 2, 3}, series{1, 2, infinity})));
  CHECK(std::isnan(spearman(series{1, nan, 3}, series{1, 2, 3})));
  CHECK(std::isnan(spearman(series{1, 2, 3}, series{nan, 2, 3})));
}

TEST_CASE("the two sides must have equal lengths") {
  CHECK_THROWS_AS(pearson(series{1, 2, 3}, series{1, 2}), shape_error);
  CHECK_THROWS_WITH(pearson(series{1, 2, 3}, series{1, 2}),
                    "graft: pearson: values: expected 3, found 2");
  CHECK_THROWS_WITH(spearman(series{1}, series{1, 2}),
                    "graft: spearman: values: expected 1, found 2");
}
