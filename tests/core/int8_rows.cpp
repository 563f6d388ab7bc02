// SPDX-License-Identifier: MIT
// core/int8_rows.hpp, and round_rows of the backends on the host.
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/core/int8_rows.hpp>
#include <graft/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "support/catch.hpp"

namespace graft_test::int8_rows {

using namespace graft;
using graft::index_t;
using std::vector;

struct rounded {
  vector<std::int8_t> q;
  float scale;
};

template <class T>
rounded of(const vector<T>& x) {
  rounded r{vector<std::int8_t>(x.size(), 99), 0};
  r.scale = round_to_int8(r.q.data(), x.data(), static_cast<index_t>(x.size()));
  return r;
}

TEST_CASE("a row in 8 bits has its greatest magnitude at 127 and rounds to the nearest, ties to even") {
  const auto r = of<float>({254, -2, 3, 5, 6.9f, -254, 0});
  CHECK(r.scale == 2);
  CHECK(r.q == vector<std::int8_t>{127, -1, 2, 2, 3, -127, 0});
  CHECK(of<double>({254, -2, 3, 5, 6.9, -254, 0}).q == r.q);
}

TEST_CASE("a row in 8 bits is off by half a step at most") {
  random_stream rng(4);
  for (const float size : {1e-20f, 0.03f, 1.0f, 1e20f})
    for (const std::size_t n : {std::size_t{1}, std::size_t{7}, std::size_t{384}}) {
      CAPTURE(size, n);
      vector<float> x(n), y(n);
      float most = 0;
      for (float& v : x) {
        v = size * static_cast<float>(rng.normal());
        most = std::max(most, std::abs(v));
      }
      const auto r = of(x);
      CHECK(r.scale == Approx(most / 127));
      bool reaches = false;
      for (std::size_t i = 0; i < n; ++i) {
        CHECK(std::abs(double(x[i]) - double(r.scale) * r.q[i]) <= 0.5001 * double(r.scale));
        reaches = reaches || std::abs(r.q[i]) == 127;
      }
      CHECK(reaches);
    }
}

TEST_CASE("rows of zeros, of next to nothing and of what is not finite have a scale") {
  for (const float little : {0.0f, 1e-40f, -1e-32f}) {
    const auto r = of<float>({little, 0});
    CHECK(r.scale > 0);
    CHECK(std::abs(r.q[0]) <= 2);
  }
  const float infinity = std::numeric_limits<float>::infinity();
  for (const float odd : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    const auto r = of<float>({1, odd, 2});
    CHECK(std::isnan(r.scale));
    CHECK(r.q == vector<std::int8_t>{0, 0, 0});
  }
}

TEMPLATE_TEST_CASE("backends round rows to what their codes stand for, in place too", "", cpu<float>,
                   cpu<double>, reference<double>) {
  using T = typename TestType::scalar;
  random_stream rng(5);
  vector<T> x(3 * 8);
  for (T& v : x)
    v = T(rng.normal());
  auto y = x;
  // The left five of eight columns.
  TestType::round_rows(matrix_view<T>(y.data(), 3, 5, 8), matrix_view<const T>(x.data(), 3, 5, 8));
  for (index_t i = 0; i < 3; ++i) {
    const auto row = x.begin() + i * 8;
    const auto r = of(vector<T>(row, row + 5));
    for (index_t j = 0; j < 8; ++j) {
      const auto at = static_cast<std::size_t>(i * 8 + j);
      CHECK(y[at] == (j < 5 ? T(r.scale * r.q[static_cast<std::size_t>(j)]) : x[at]));
    }
  }
  TestType::round_rows(matrix_view<T>(x.data(), 3, 5, 8), matrix_view<const T>(x.data(), 3, 5, 8));
  CHECK(x == y);
  x[9] = std::numeric_limits<T>::quiet_NaN();
  TestType::round_rows(matrix_view<T>(x.data(), 3, 5, 8), matrix_view<const T>(x.data(), 3, 5, 8));
  CHECK(std::isnan(x[8]));
  CHECK(x[0] == y[0]);
}

}  // namespace graft_test::int8_rows
