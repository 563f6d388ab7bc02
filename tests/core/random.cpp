// SPDX-License-Identifier: MIT
#include <graft/core/random.hpp>

#include "support/catch.hpp"

#include <array>
#include <cstdint>
#include <set>
#include <vector>

using namespace graft;

namespace {

struct moments {
  double mean = 0, variance = 0, skewness = 0, kurtosis = 0;
};

template <class Draw>
moments moments_of(Draw draw, int n) {
  std::vector<double> x(static_cast<std::size_t>(n));
  moments m;
  for (double& v : x)
    m.mean += (v = draw()) / n;
  for (double v : x) {
    const double d = v - m.mean;
    m.variance += d * d / n;
    m.skewness += d * d * d / n;
    m.kurtosis += d * d * d * d / n;
  }
  m.kurtosis /= m.variance * m.variance;
  return m;
}

}  // namespace

TEST_CASE("the mixing function agrees with SplitMix64") {
  // The first two outputs of SplitMix64 from state 0.
  CHECK(mix(0) == 0xE220A8397B1DCDAFu);
  CHECK(mix(0x9E3779B97F4A7C15u) == 0x6E789E6AA1B965F4u);
}

TEST_CASE("names are hashed with 64-bit FNV-1a") {
  CHECK(hash_of("") == 0xCBF29CE484222325u);
  CHECK(hash_of("a") == 0xAF63DC4C8601EC8Cu);
  CHECK(hash_of("foobar") == 0x85944171F73967E8u);
}

TEST_CASE("a stream is a function of its seed and number") {
  random_stream a(1, 2), b(1, 2);
  for (int i = 0; i < 100; ++i)
    REQUIRE(a.bits() == b.bits());
}

TEST_CASE("streams with other seeds or numbers share no values") {
  std::set<std::uint64_t> seen;
  int drawn = 0;
  for (std::uint64_t seed : {0u, 1u, 2u})
    for (std::uint64_t number : {0u, 1u, 2u}) {
      random_stream r(seed, number);
      for (int i = 0; i < 200; ++i, ++drawn)
        seen.insert((std::uint64_t{r.bits()} << 32) | r.bits());
    }
  CHECK(seen.size() == static_cast<std::size_t>(drawn));
}

TEST_CASE("a stream's bits are the blocks of its key in order") {
  random_stream r(7, 9);
  for (std::uint32_t block = 0; block < 3; ++block) {
    const philox_counter expected = philox({block, 0, 0, 0}, key_of(7, 9));
    for (std::uint32_t word : expected)
      CHECK(r.bits() == word);
  }
}

TEST_CASE("neighbouring streams are not correlated") {
  random_stream a(0, 1), b(0, 2);
  const int n = 100000;
  double sum = 0;
  for (int i = 0; i < n; ++i)
    sum += (a.uniform() - 0.5) * (b.uniform() - 0.5);
  // The deviation of the mean product is 1/12 / sqrt(n).
  CHECK(std::abs(sum / n) < 5.0 / 12 / std::sqrt(n));
}

TEST_CASE("uniform numbers fill [0, 1) evenly") {
  random_stream r(3);
  const int n = 200000;
  std::array<int, 16> bins{};
  double low = 1, high = 0;
  const moments m = moments_of(
      [&] {
        const double x = r.uniform();
        low = std::min(low, x);
        high = std::max(high, x);
        ++bins[static_cast<std::size_t>(x * 16)];
        return x;
      },
      n);
  CHECK(low >= 0);
  CHECK(high < 1);
  CHECK(low < 1e-4);
  CHECK(high > 1 - 1e-4);
  CHECK(m.mean == Approx(0.5).margin(0.003));
  CHECK(m.variance == Approx(1.0 / 12).margin(0.001));
  // Chi squared with 15 degrees of freedom is below 37.7 with probability 0.999.
  double chi = 0;
  for (int count : bins)
    chi += (count - n / 16.0) * (count - n / 16.0) / (n / 16.0);
  CHECK(chi < 37.7);
}

TEST_CASE("uniform numbers of a range stay in it") {
  random_stream r(4);
  const moments m = moments_of(
      [&] {
        const double x = r.uniform(-3, 5);
        REQUIRE((x >= -3 && x < 5));
        return x;
      },
      20000);
  CHECK(m.mean == Approx(1).margin(0.08));
}

TEST_CASE("normal numbers have the moments of a standard normal") {
  random_stream r(5);
  const moments m = moments_of([&] { return r.normal(); }, 200000);
  CHECK(m.mean == Approx(0).margin(0.012));
  CHECK(m.variance == Approx(1).margin(0.02));
  CHECK(m.skewness == Approx(0).margin(0.03));
  CHECK(m.kurtosis == Approx(3).margin(0.06));
}

TEST_CASE("below(n) reaches every number under n and no other") {
  random_stream r(6);
  for (std::uint64_t n : {1u, 2u, 3u, 7u}) {
    std::vector<int> count(n);
    for (int i = 0; i < 7000; ++i) {
      const std::uint64_t x = r.below(n);
      REQUIRE(x < n);
      ++count[x];
    }
    for (int c : count)  // five deviations of a binomial
      CHECK(c == Approx(7000.0 / static_cast<double>(n)).margin(5 * 42.0));
  }
}

TEST_CASE("below(n) is not biased towards small numbers") {
  // x % n alone would take the lower half of this range twice as often as the upper half.
  const std::uint64_t n = 3 * (std::uint64_t{1} << 62);
  random_stream r(8);
  int lower_third = 0;
  const int draws = 3000;
  for (int i = 0; i < draws; ++i)
    lower_third += r.below(n) < n / 3;
  CHECK(lower_third == Approx(draws / 3.0).margin(5 * 25.8));
  CHECK(random_stream(1).below(~std::uint64_t{0}) < ~std::uint64_t{0});
}
