// SPDX-License-Identifier: MIT
// train/loss.hpp
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/train/loss.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"

using namespace graft;
using graft::index_t;

namespace {

// Outputs of 4 rows and 3 classes.
template <class B>
struct outputs {
  typename B::workspace memory;
  layout rows = separate_rows(4);
  context<B> k{memory, rows};
  typename B::tensor y = k.make(4, 3);

  outputs() {
    const double values[] = {0.5, -1, 2, 3, 0.25, -0.75, 1, 1, 1, -2, 4, 0};
    for (index_t i = 0; i < 12; ++i)
      y.data[i] = values[i];
  }
  // −log softmax(y[i])[c]
  double nats(index_t i, index_t c) const {
    double sum = 0;
    for (index_t j = 0; j < 3; ++j)
      sum += std::exp(y(i, j));
    return std::log(sum) - y(i, c);
  }
  double share(index_t i, index_t c) const { return std::exp(-nats(i, c)); }
};

using label_list = std::vector<std::int32_t>;

}  // namespace

TEMPLATE_TEST_CASE("cross-entropy is the mean of −log softmax at the labels", "", cpu<double>,
                   reference<double>) {
  outputs<TestType> o;
  const auto r = cross_entropy{}.template operator()<TestType>(o.y, label_list{2, 0, 1, 1}, o.k);
  CHECK(r.loss == Approx((o.nats(0, 2) + o.nats(1, 0) + o.nats(2, 1) + o.nats(3, 1)) / 4));
  CHECK(r.gradient(0, 0) == Approx(o.share(0, 0) / 4));
  CHECK(r.gradient(0, 2) == Approx((o.share(0, 2) - 1) / 4));
}

TEMPLATE_TEST_CASE("class weights weigh the rows of the mean", "", cpu<double>, reference<double>) {
  outputs<TestType> o;
  const cross_entropy loss{.class_weights = {0.5, 2, 3}};
  const label_list l{2, 0, 1, 1};
  const auto r = loss.template operator()<TestType>(o.y, l, o.k);
  CHECK(loss.weight_of(l) == 7.5);
  CHECK(
      r.loss ==
      Approx((3 * o.nats(0, 2) + 0.5 * o.nats(1, 0) + 2 * o.nats(2, 1) + 2 * o.nats(3, 1)) / 7.5));
  CHECK(r.gradient(3, 1) == Approx((o.share(3, 1) - 1) * 2 / 7.5));
}

TEMPLATE_TEST_CASE("smoothing gives every class a share of the label", "", cpu<double>,
                   reference<double>) {
  outputs<TestType> o;
  const auto r = cross_entropy{.smoothing = 0.3}.template operator()<TestType>(
      o.y, label_list{2, 0, 1, 1}, o.k);
  const label_list l{2, 0, 1, 1};
  double expected = 0;
  for (index_t i = 0; i < 4; ++i)
    for (index_t c = 0; c < 3; ++c)
      expected += (0.1 + (c == l[static_cast<std::size_t>(i)] ? 0.7 : 0)) * o.nats(i, c) / 4;
  CHECK(r.loss == Approx(expected));
}

TEMPLATE_TEST_CASE("rows with the ignored label do not count", "", cpu<double>, reference<double>) {
  outputs<TestType> o;
  const label_list l{-100, 0, -100, 1};
  const auto r = cross_entropy{}.template operator()<TestType>(o.y, l, o.k);
  CHECK(cross_entropy{}.weight_of(l) == 2);
  CHECK(r.loss == Approx((o.nats(1, 0) + o.nats(3, 1)) / 2));
  CHECK(r.gradient(0, 1) == 0);
  CHECK(r.gradient(2, 0) == 0);
  const label_list none(4, -100);
  const auto empty = cross_entropy{}.template operator()<TestType>(o.y, none, o.k);
  CHECK(empty.loss == 0);
  CHECK(empty.gradient(3, 2) == 0);
}

TEST_CASE("cross-entropy refuses what is no label") {
  using B = cpu<double>;
  outputs<B> o;
  const auto loss = [&](const label_list& l, const cross_entropy& f = {}) {
    return f.operator()<B>(o.y, l, o.k);
  };
  using Catch::Matchers::Contains;
  CHECK_THROWS_AS(loss({0, 1, 3, 0}), input_error);
  CHECK_THROWS_WITH(loss({0, 1, 3, 0}), Contains("expected labels below 3, found 3"));
  CHECK_THROWS_WITH(loss({0, -1, 0, 0}), Contains("found -1"));
  CHECK_THROWS_AS(loss({0, 1, 2}), shape_error);
  CHECK_THROWS_WITH(loss({0, 1, 2, 0}, {.class_weights = {1, 2}}),
                    Contains("class weights: expected 3, found 2"));
}

TEST_CASE("cross-entropy of large outputs is finite, of a NaN a NaN") {
  using B = cpu<double>;
  outputs<B> o;
  o.y(0, 0) = 1e300;
  CHECK(std::isfinite(cross_entropy{}.operator()<B>(o.y, label_list{0, 0, 0, 0}, o.k).loss));
  o.y(1, 2) = std::numeric_limits<double>::quiet_NaN();
  CHECK(std::isnan(cross_entropy{}.operator()<B>(o.y, label_list{0, 0, 0, 0}, o.k).loss));
}

TEMPLATE_TEST_CASE("squared error is the mean over all elements", "", cpu<double>,
                   reference<double>) {
  outputs<TestType> o;
  const std::vector<double> targets{1, 0, 0, 0, 0, 1, 0, 2, 0, 0, 0, 0};
  const auto r = mean_squared_error{}.template operator()<TestType>(o.y, targets, o.k);
  double expected = 0;
  for (std::size_t i = 0; i < 12; ++i)
    expected += (o.y.data[i] - targets[i]) * (o.y.data[i] - targets[i]) / 12;
  CHECK(r.loss == Approx(expected));
  CHECK(r.gradient(0, 0) == Approx(2 * (0.5 - 1) / 12));
  CHECK_THROWS_AS(
      (mean_squared_error{}.template operator()<TestType>(o.y, std::vector<double>{1, 2}, o.k)),
      shape_error);
}
