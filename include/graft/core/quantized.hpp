// SPDX-License-Identifier: MIT
// Matrices in 16, 8 or 4 bits per number. All arithmetic is in float and rounded as written, so that every
// backend has the same numbers.
#pragma once

#include <graft/core/device_code.hpp>
#include <graft/core/error.hpp>
#include <graft/core/half_precision.hpp>
#include <graft/core/view.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace graft {

enum class number_format : unsigned char { bf16, int8, nf4 };

constexpr std::string_view name_of(number_format f) {
  return f == number_format::bf16 ? "bf16" : f == number_format::int8 ? "int8" : "nf4";
}

// N constants. (What a device indexes can be no std::array.)
template <std::size_t N>
struct number_table {
  float numbers[N] = {};

  GRAFT_DEVICE constexpr float operator[](std::size_t i) const { return numbers[i]; }
  constexpr float& operator[](std::size_t i) { return numbers[i]; }
  constexpr const float* begin() const { return numbers; }
  constexpr const float* end() const { return numbers + N; }
};

// A bf16_matrix for those who read it, on the host or on a device.
struct bf16_view {
  const std::uint16_t* bits;
  index_t cols;

  GRAFT_DEVICE float operator()(index_t i, index_t j) const { return from_bf16(bits[i * cols + j]); }
};

// w[i, j] in the upper half of a float (core/half_precision.hpp), off by 2⁻⁸ of itself at most. 2 bytes per number.
struct bf16_matrix {
  index_t rows = 0;
  index_t cols = 0;
  std::vector<std::uint16_t> bits;  // [rows · cols]

  std::size_t bytes() const { return bits.size() * sizeof(std::uint16_t); }
  bf16_view view() const { return {bits.data(), cols}; }
};

// An int8_matrix for those who read it, on the host or on a device.
struct int8_view {
  const std::int8_t* q;
  const float* row_scale;
  index_t cols;

  GRAFT_DEVICE float operator()(index_t i, index_t j) const {
    return row_scale[i] * static_cast<float>(q[i * cols + j]);
  }
};

// w[i, j] ≈ s[i] q[i, j],  s[i] = max |w[i]| / 127, off by s[i] / 2 at most. 1 + 4 / cols bytes per
// number.
struct int8_matrix {
  index_t rows = 0;
  index_t cols = 0;
  std::vector<std::int8_t> q;    // [rows · cols]
  std::vector<float> row_scale;  // s, [rows]

  std::size_t bytes() const { return q.size() + row_scale.size() * sizeof(float); }
  int8_view view() const { return {q.data(), row_scale.data(), cols}; }
};

// The 16 numbers of NF4: quantiles of the normal distribution, one of them zero, within ±1.
inline constexpr number_table<16> nf4_numbers{{
    -1.0f,           -0.69619280f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f,
    -0.091050036f,   0.0f,         0.079580300f, 0.16093020f,  0.24611230f,  0.33791524f,
    0.44070983f,     0.56261700f,  0.72295684f,  1.0f}};

namespace detail {

constexpr number_table<256> make_dynamic_numbers() {
  number_table<256> numbers{{0, 1}};
  std::size_t n = 2;
  double power = 1e-6;
  for (int e = 0; e < 7; ++e, power *= 10)
    for (int j = 0; j < 1 << e; ++j, n += 2) {
      numbers[n] = static_cast<float>(power * (0.1 + 0.9 * (j + 0.5) / (1 << e)));
      numbers[n + 1] = -numbers[n];
    }
  std::sort(numbers.numbers, numbers.numbers + 256);
  return numbers;
}

}  // namespace detail

// Signed numbers of 8 bits with an exponent of their own: 0, 1 and ±10ᵉ⁻⁶ (0.1 + 0.9 (j + ½) / 2ᵉ) for
// e < 7, j < 2ᵉ, ascending. Dettmers 2016, arXiv:1511.04561.
inline constexpr number_table<256> dynamic_numbers = detail::make_dynamic_numbers();

// An nf4_matrix, likewise.
struct nf4_view {
  static constexpr index_t block = 64;
  static constexpr index_t group = 256;  // blocks

  const std::uint8_t* codes;
  const std::uint8_t* scale_codes;
  const float* group_scale;
  float mean;
  index_t cols;

  GRAFT_DEVICE float number(index_t i) const {
    static constexpr auto numbers = nf4_numbers;
    return numbers[i % 2 == 0 ? codes[i / 2] >> 4 : codes[i / 2] & 15];
  }
  GRAFT_DEVICE float scale(index_t b) const {
    static constexpr auto numbers = dynamic_numbers;
    return fmaf(group_scale[b / group], numbers[scale_codes[b]], mean);
  }
  GRAFT_DEVICE float operator()(index_t i, index_t j) const {
    const index_t n = i * cols + j;
    return scale(n / block) * number(n);
  }
};

// The matrix, row after row, in blocks of 64:  w ≈ a n[code],  n the numbers of NF4 and a = max |w|
// of the block. The a are themselves in 8 bits:  a ≈ mean + s d[code],  d the dynamic numbers, mean
// that of all a, and s = max |a - mean| of each 256 blocks. ½ + 1/64 + 4 / (64 · 256) bytes per
// number, and 4 for the mean. As bitsandbytes has it; Dettmers et al. 2023, arXiv:2305.14314.
struct nf4_matrix {
  static constexpr index_t block = nf4_view::block;
  static constexpr index_t group = nf4_view::group;

  index_t rows = 0;
  index_t cols = 0;
  std::vector<std::uint8_t> codes;        // two in each byte, the first in its high half
  std::vector<std::uint8_t> scale_codes;  // [blocks]
  std::vector<float> group_scale;         // s, [groups]
  float mean = 0;

  std::size_t bytes() const {
    return codes.size() + scale_codes.size() + (group_scale.size() + 1) * sizeof(float);
  }
  nf4_view view() const {
    return {codes.data(), scale_codes.data(), group_scale.data(), mean, cols};
  }
};

namespace detail {

// Throws input_error for numbers that are not finite.
inline void expect_finite(float x) {
  if (!std::isfinite(x))
    throw input_error("quantize: expected finite numbers, found " + std::to_string(x));
}
inline float greatest_magnitude(std::span<const float> numbers) {
  float most = 0;
  for (float x : numbers) {
    expect_finite(x);
    most = std::max(most, std::abs(x));
  }
  return most;
}

// The position of the nearest of ascending numbers, of two equally near ones the lower.
template <std::size_t N>
std::uint8_t nearest(const number_table<N>& numbers, float x) {
  unsigned below = 0;
  for (std::size_t i = 0; i + 1 < N; ++i)
    below += (numbers[i] + numbers[i + 1]) / 2 < x;
  return static_cast<std::uint8_t>(below);
}

// x · (1 / scale) within ±1, which for a scale of 0 is 0.
inline float unit(float x, float inverse) {
  return std::clamp(x * inverse, -1.0f, 1.0f);
}
inline float inverse_of(float scale) { return 1 / std::max(scale, 1e-38f); }

}  // namespace detail

// All throw input_error for numbers that are not finite.
template <class T>
bf16_matrix quantize_bf16(matrix_view<T> w) {
  bf16_matrix m;
  m.rows = w.rows;
  m.cols = w.cols;
  m.bits.reserve(static_cast<std::size_t>(w.size()));
  for (index_t i = 0; i < w.rows; ++i)
    for (index_t j = 0; j < w.cols; ++j) {
      const auto x = static_cast<float>(w(i, j));
      detail::expect_finite(x);
      m.bits.push_back(to_bf16(x));
    }
  return m;
}

template <class T>
int8_matrix quantize_int8(matrix_view<T> w) {
  int8_matrix m;
  m.rows = w.rows;
  m.cols = w.cols;
  m.q.reserve(static_cast<std::size_t>(w.size()));
  std::vector<float> row(static_cast<std::size_t>(w.cols));
  for (index_t i = 0; i < w.rows; ++i) {
    std::transform(w.row(i), w.row(i) + w.cols, row.begin(),
                   [](T x) { return static_cast<float>(x); });
    const float s = detail::greatest_magnitude(row) / 127;
    m.row_scale.push_back(s);
    for (float x : row)
      m.q.push_back(static_cast<std::int8_t>(
          s > 0 ? std::clamp(std::nearbyint(x / s), -127.0f, 127.0f) : 0.0f));
  }
  return m;
}

template <class T>
nf4_matrix quantize_nf4(matrix_view<T> w) {
  nf4_matrix m;
  m.rows = w.rows;
  m.cols = w.cols;
  m.codes.resize(static_cast<std::size_t>((w.size() + 1) / 2));
  if (w.size() % 2 != 0)
    m.codes.back() = 7;  // nobody's half: a zero
  std::vector<float> scales;
  float block[nf4_matrix::block];
  index_t row = 0, col = 0;
  for (index_t first = 0; first < w.size(); first += nf4_matrix::block) {
    const auto count = static_cast<std::size_t>(std::min(nf4_matrix::block, w.size() - first));
    for (std::size_t i = 0; i < count; ++i) {
      block[i] = static_cast<float>(w(row, col));
      if (++col == w.cols)
        col = 0, ++row;
    }
    scales.push_back(detail::greatest_magnitude({block, count}));
    const float inverse = detail::inverse_of(scales.back());
    for (std::size_t i = 0; i < count; ++i) {
      const unsigned code = detail::nearest(nf4_numbers, detail::unit(block[i], inverse));
      m.codes[(static_cast<std::size_t>(first) + i) / 2] |=
          static_cast<std::uint8_t>(i % 2 == 0 ? code << 4 : code);
    }
  }

  double sum = 0;
  for (float s : scales)
    sum += s;
  m.mean = scales.empty() ? 0 : static_cast<float>(sum / static_cast<double>(scales.size()));
  for (float& s : scales)
    s -= m.mean;
  for (std::size_t first = 0; first < scales.size(); first += nf4_matrix::group) {
    const std::size_t count = std::min<std::size_t>(nf4_matrix::group, scales.size() - first);
    const std::span<const float> group(scales.data() + first, count);
    m.group_scale.push_back(detail::greatest_magnitude(group));
    const float inverse = detail::inverse_of(m.group_scale.back());
    for (float s : group)
      m.scale_codes.push_back(detail::nearest(dynamic_numbers, detail::unit(s, inverse)));
  }
  return m;
}

// y [rows, cols] = the matrix.
template <class T>
void dequantize(matrix_view<T> y, const bf16_matrix& m) {
  for (index_t i = 0; i < m.rows; ++i) {
    const std::uint16_t* bits = m.bits.data() + i * m.cols;
    T* to = y.row(i);
    for (index_t j = 0; j < m.cols; ++j)
      to[j] = static_cast<T>(from_bf16(bits[j]));
  }
}

template <class T>
void dequantize(matrix_view<T> y, const int8_matrix& m) {
  for (index_t i = 0; i < m.rows; ++i) {
    const std::int8_t* q = m.q.data() + i * m.cols;
    const float s = m.row_scale[static_cast<std::size_t>(i)];
    T* to = y.row(i);
    for (index_t j = 0; j < m.cols; ++j)
      to[j] = static_cast<T>(s * static_cast<float>(q[j]));
  }
}

template <class T>
void dequantize(matrix_view<T> y, const nf4_matrix& m) {
  const nf4_view w = m.view();
  for (index_t i = 0; i < m.rows; ++i) {
    const index_t begin = i * m.cols;
    T* to = y.row(i);
    for (index_t j = 0; j < m.cols;) {
      const index_t b = (begin + j) / nf4_matrix::block;
      const index_t end = std::min(m.cols, (b + 1) * nf4_matrix::block - begin);
      const float a = w.scale(b);
      for (; j < end; ++j)
        to[j] = static_cast<T>(a * w.number(begin + j));
    }
  }
}

// A matrix in a given format.
template <number_format Format>
using quantized_matrix =
    std::conditional_t<Format == number_format::bf16, bf16_matrix,
                       std::conditional_t<Format == number_format::int8, int8_matrix, nf4_matrix>>;

template <number_format Format, class T>
quantized_matrix<Format> quantized(matrix_view<T> w) {
  if constexpr (Format == number_format::bf16)
    return quantize_bf16(w);
  else if constexpr (Format == number_format::int8)
    return quantize_int8(w);
  else
    return quantize_nf4(w);
}

}  // namespace graft
