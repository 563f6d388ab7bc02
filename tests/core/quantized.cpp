// SPDX-License-Identifier: MIT
// core/quantized.hpp
#include <graft/core/quantized.hpp>
#include <graft/core/random.hpp>
#include <graft/io/dtype.hpp>
#include <graft/io/safetensors.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace graft_test {

using namespace graft;
using graft::index_t;

namespace {

template <class T>
struct matrix {
  index_t rows, cols;
  std::vector<T> values = std::vector<T>(static_cast<std::size_t>(rows * cols));
  matrix_view<T> view() { return {values.data(), rows, cols}; }
};

template <class T>
matrix<T> random_matrix(index_t rows, index_t cols) {
  random_stream random(3, 9);
  matrix<T> m{rows, cols};
  for (T& x : m.values)
    x = static_cast<T>(static_cast<float>(0.1 * random.normal()));
  return m;
}

template <class T, class Q>
std::vector<T> dense(const Q& q) {
  matrix<T> m{q.rows, q.cols};
  dequantize(m.view(), q);
  return m.values;
}

// A tensor of the golden file, as T (converted) or byte for byte.
struct golden_matrix {
  safetensors_file file =
      safetensors_file::open(std::string(GRAFT_TEST_DATA) + "/models/quantized.safetensors");

  std::vector<float> floats(const std::string& name) const {
    const tensor_entry& entry = *file.find(name);
    std::vector<float> values(element_count(entry));
    convert_to(entry.type, entry.data, values.size(), values.data());
    return values;
  }
  template <class Byte>
  std::vector<Byte> bytes(const std::string& name) const {
    const tensor_entry& entry = *file.find(name);
    std::vector<Byte> values(entry.bytes);
    std::memcpy(values.data(), entry.data, entry.bytes);
    return values;
  }
};

// How many of two lists' elements differ, and by how much at most.
template <class A, class B>
std::size_t unequal(const A& a, const B& b) {
  REQUIRE(a.size() == b.size());
  std::size_t n = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    n += a[i] != b[i];
  return n;
}
double furthest(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    most = std::max(most, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return most;
}

constexpr float infinity = std::numeric_limits<float>::infinity();

}  // namespace

TEMPLATE_TEST_CASE("bf16 keeps the upper half of a float, to the nearest, in two bytes", "", float, double) {
  matrix<TestType> w = random_matrix<TestType>(7, 33);
  w.values[5] = 0;
  const bf16_matrix q = quantize_bf16(w.view());
  CHECK(q.bytes() == 2 * w.values.size());
  const auto found = dense<TestType>(q);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const auto x = static_cast<float>(w.values[i]);
    CHECK(found[i] == static_cast<TestType>(from_bf16(to_bf16(x))));
    CHECK(std::abs(static_cast<float>(found[i]) - x) <= std::abs(x) / 256);
    CHECK(q.view()(static_cast<index_t>(i) / 33, static_cast<index_t>(i) % 33) == static_cast<float>(found[i]));
  }
  // A part of a matrix has the bits of the whole.
  const bf16_matrix part = quantize_bf16(w.view().columns(3, 5));
  CHECK(part.bits[5 * 2 + 1] == q.bits[2 * 33 + 4]);
  w.values[9] = std::numeric_limits<TestType>::infinity();
  CHECK_THROWS_AS(quantize_bf16(w.view()), input_error);
}

TEST_CASE("int8 has a scale for each row, and rounds to the nearest") {
  matrix<float> w{3, 3, {1.27f, -0.634f, 0.004f, 0, 0, 0, -254, 255 - 254, 3.1f}};
  const int8_matrix q = quantize_int8(w.view());
  CHECK(q.q == std::vector<std::int8_t>{127, -63, 0, 0, 0, 0, -127, 0, 2});
  CHECK(q.row_scale[0] == Approx(0.01));
  CHECK(q.row_scale[1] == 0);
  CHECK(q.row_scale[2] == 2);
  const auto d = dense<float>(q);
  CHECK(d[1] == Approx(-0.63));
  CHECK(d[4] == 0);
  CHECK(d[8] == 4);
}

TEMPLATE_TEST_CASE("int8 is off by half a step at most", "", float, double) {
  auto w = random_matrix<TestType>(17, 33);
  const int8_matrix q = quantize_int8(w.view());
  const auto d = dense<TestType>(q);
  double worst = 0;
  for (std::size_t i = 0; i < d.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(d[i] - w.values[i])) /
                                static_cast<double>(q.row_scale[i / 33]));
  CHECK(worst <= 0.5 + 1e-5);  // the rounding of w / s, which is at most 127, and of s q
  CHECK(worst > 0.49);
}

TEST_CASE("NF4 keeps its own numbers, two to a byte") {
  matrix<float> w{2, 8};
  for (std::size_t i = 0; i < 16; ++i)
    w.values[i] = 3 * nf4_numbers[i];
  const nf4_matrix q = quantize_nf4(w.view());
  CHECK(q.codes == std::vector<std::uint8_t>{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef});
  CHECK(q.mean == 3);
  CHECK(dense<float>(q) == w.values);
}

TEST_CASE("NF4 takes the nearest of its numbers, and numbers in between to the lower") {
  const float middle = (nf4_numbers[11] + nf4_numbers[12]) / 2;
  matrix<float> w{1, 5, {1, middle, std::nextafter(middle, 1.0f), -0.99f, 0.03f}};
  CHECK(quantize_nf4(w.view()).codes == std::vector<std::uint8_t>{0xfb, 0xc0, 0x77});
}

TEST_CASE("each block of 64 has a scale of its own, which is rounded to 8 bits") {
  auto w = random_matrix<float>(40, 130);  // 82 blocks, the last of 16
  for (std::size_t i = 64; i < 128; ++i)
    w.values[i] *= 10;
  for (std::size_t i = 128; i < 192; ++i)
    w.values[i] = 0;
  const nf4_matrix q = quantize_nf4(w.view());
  const auto d = dense<float>(q);
  CHECK(q.scale_codes.size() == 82);
  float worst = 0;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const std::size_t first = i / 64 * 64;
    float most = 0;
    for (std::size_t j = first; j < std::min(first + 64, d.size()); ++j)
      most = std::max(most, std::abs(w.values[j]));
    // Half the widest gap of the dynamic numbers.
    const float scale_error = 0.9f / 128 * q.group_scale[0];
    CHECK(std::abs(q.view().scale(static_cast<index_t>(i / 64)) - most) <= 1.0001f * scale_error);
    if (most > 0)
      worst = std::max(worst, (std::abs(d[i] - w.values[i]) - scale_error) / most);
  }
  CHECK(worst <= (1 - 0.69619280f) / 2);  // half the widest gap
  CHECK(std::all_of(d.begin() + 128, d.begin() + 192, [](float x) { return x == 0; }));
}

TEST_CASE("the dynamic numbers are 256, ascending, and finer towards zero") {
  CHECK(std::is_sorted(dynamic_numbers.begin(), dynamic_numbers.end()));
  CHECK(std::set(dynamic_numbers.begin(), dynamic_numbers.end()).size() == 256);
  CHECK(dynamic_numbers[127] == 0);
  CHECK(dynamic_numbers[128] == Approx(0.55e-6));  // of e = 0 there is one: the middle of 0.1 and 1
  CHECK(dynamic_numbers[254] == Approx(0.1 + 0.9 * 63.5 / 64));
  CHECK(dynamic_numbers[255] == 1);
  CHECK(dynamic_numbers[0] == -dynamic_numbers[254]);
}

TEST_CASE("quantised numbers are bitsandbytes' own") {
  const golden_matrix peer;
  matrix<float> w{131, 159, peer.floats("w")};

  const int8_matrix int8 = quantize_int8(w.view());
  std::vector<float> scale = peer.floats("int8.row_max");
  for (float& s : scale)
    s /= 127;
  CHECK(int8.row_scale == scale);
  // It multiplies by 127 / max where graft divides by max / 127: two of 20,829 lie between.
  CHECK(unequal(int8.q, peer.bytes<std::int8_t>("int8.q")) <= 2);

  const nf4_matrix nf4 = quantize_nf4(w.view());
  CHECK(unequal(nf4.codes, peer.bytes<std::uint8_t>("nf4.codes")) == 0);
  // On the CPU it searches by a table, and takes the farther of two numbers once, by 2e-6.
  CHECK(unequal(nf4.scale_codes, peer.bytes<std::uint8_t>("nf4.scale_codes")) <= 1);
  CHECK(furthest({nf4.mean}, peer.floats("nf4.mean")) < 1e-7);
  CHECK(furthest(nf4.group_scale, peer.floats("nf4.group_scale")) < 1e-7);
  const auto d = dense<float>(nf4);
  CHECK(furthest({d.begin(), d.begin() + 8 * 159}, peer.floats("nf4.first_rows")) < 1e-7);
  CHECK(furthest({d.end() - 3 * 159, d.end()}, peer.floats("nf4.last_rows")) < 1e-7);
}

TEST_CASE("quantised numbers are the same in float and double, and in a part of a matrix") {
  auto f = random_matrix<float>(9, 50);
  auto d = random_matrix<double>(9, 50);
  CHECK(quantize_int8(f.view()).q == quantize_int8(d.view()).q);
  CHECK(quantize_nf4(f.view()).codes == quantize_nf4(d.view()).codes);
  const auto values = dense<float>(quantize_nf4(f.view()));
  const auto in_double = dense<double>(quantize_nf4(d.view()));
  CHECK(std::equal(values.begin(), values.end(), in_double.begin()));

  matrix<float> part{9, 20};
  for (index_t i = 0; i < 9; ++i)
    std::copy_n(f.view().columns(5, 20).row(i), 20, part.view().row(i));
  const nf4_matrix q = quantize_nf4(f.view().columns(5, 20));
  CHECK(q.codes == quantize_nf4(part.view()).codes);
  CHECK(quantize_int8(f.view().columns(5, 20)).q == quantize_int8(part.view()).q);
  dequantize(f.view().columns(30, 20), q);
  const auto back = dense<float>(q);
  for (index_t i = 0; i < 9; ++i)
    CHECK(std::equal(f.view().columns(30, 20).row(i), f.view().columns(30, 20).row(i) + 20,
                     back.begin() + i * 20));
}

TEST_CASE("int8 takes 1 + 4 / cols bytes per number, NF4 a little over a half and a 64th") {
  auto w = random_matrix<float>(256, 128);
  CHECK(quantize_int8(w.view()).bytes() == 256 * 128 + 4 * 256);
  CHECK(quantize_nf4(w.view()).bytes() == 256 * 128 / 2 + 256 * 128 / 64 + 4 * 2 + 4);
  matrix<float> odd{1, 3, {1, 2, 3}};
  CHECK(quantize_nf4(odd.view()).bytes() == 2 + 1 + 4 + 4);
}

TEST_CASE("an empty matrix is quantised to an empty one, very small numbers to finite ones") {
  matrix<float> none{0, 4};
  CHECK(quantize_int8(none.view()).bytes() == 0);
  CHECK(dense<float>(quantize_nf4(none.view())).empty());
  matrix<float> small{1, 2, {190 * std::numeric_limits<float>::denorm_min(), 0}};
  for (float x : dense<float>(quantize_int8(small.view())))
    CHECK(std::abs(x) <= small.values[0]);
  for (float x : dense<float>(quantize_nf4(small.view())))
    CHECK(std::abs(x) <= small.values[0]);
}

TEST_CASE("numbers that are not finite cannot be quantised") {
  for (const float bad : {infinity, -infinity, std::numeric_limits<float>::quiet_NaN()}) {
    matrix<float> w{1, 3, {1, bad, 2}};
    CHECK_THROWS_AS(quantize_int8(w.view()), input_error);
    CHECK_THROWS_AS(quantize_nf4(w.view()), input_error);
  }
}

}  // namespace graft_test
