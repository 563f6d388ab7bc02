// SPDX-License-Identifier: MIT
// Attention on tensor cores against the reference in double: on an emulated device, whose warps work
// through the same kernels, or, in a program of its own, on a real one.
#include <graft/backend/reference.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "backend/sheet.hpp"
#include "backend/through.hpp"

#ifdef GRAFT_TESTS_ON_DEVICE
#include <graft/backend/cuda.hpp>
#else
#include "support/emulated_device.hpp"
#endif

namespace graft_test {

namespace tensor_core_attention {

using namespace graft;
using graft::index_t;

// Counts what runs on blocks, and on an emulated device runs their warps in either order.
#ifdef GRAFT_TESTS_ON_DEVICE
struct watched_runtime : cuda_runtime {
  static inline int launches = 0;
  static inline bool backwards = false;
  template <class K>
  static void blocks(index_t n, const K& kernel) {
    ++launches;
    cuda_runtime::blocks(n, kernel);
  }
};
#else
struct watched_runtime : emulated_runtime {
  static inline int launches = 0;
  static inline bool backwards = false;
  template <class K>
  static void blocks(index_t n, const K& kernel) {
    ++launches;
    emulated_runtime::blocks(n, kernel, backwards);
  }
};
#endif
template <class T>
using watched = through<gpu<T, recorded_device<watched_runtime>>>;

template <class B>
inline constexpr double tolerance = std::is_same_v<typename B::number, fp16> ? 2e-3 : 1e-2;

template <class To, class From>
sheet<To> converted(const sheet<From>& from) {
  sheet<To> to(from.rows, from.cols, from.stride - from.cols);
  for (index_t i = 0; i < from.rows; ++i)
    for (index_t j = 0; j < from.cols; ++j)
      to(i, j) = To(from(i, j));
  return to;
}

// The largest difference relative to the largest number, which counts as `floor` at least. What is to be
// infinite must be.
double difference(const sheet<float>& found, const sheet<double>& expected, double floor = 0) {
  double most = floor, worst = 0;
  for (index_t i = 0; i < expected.rows; ++i)
    for (index_t j = 0; j < expected.cols; ++j) {
      if (double(found(i, j)) == expected(i, j))
        continue;
      const double d = std::abs(double(found(i, j)) - expected(i, j));
      if (!(d <= std::numeric_limits<double>::max()))
        return std::numeric_limits<double>::infinity();
      worst = std::max(worst, d);
      most = std::max(most, std::abs(expected(i, j)));
    }
  return worst == 0 ? 0 : worst / most;
}

layout layout_of(const std::vector<index_t>& lengths) {
  layout l;
  std::uint32_t example = 40;
  for (index_t n : lengths)
    l.append(n, example++);
  return l;
}

struct problem {
  layout queries, keys;
  index_t heads, size;
  double dropout = 0;
  double score = 1, mean = 0;  // of queries and keys: their deviation, their mean and minus their mean
};

// Forward and backward of B, which must be within the tolerance of the reference and must have run on
// blocks; every result is poisoned before, and none may be written beside.
template <class B>
void check(const problem& p, random_stream& rng) {
  INFO("queries " << p.queries.rows() << " keys " << p.keys.rows() << " heads " << p.heads << " size "
                  << p.size << " dropout " << p.dropout);
  const auto numbers = [&](const layout& l, double size, double mean) {
    auto s = random_sheet<float>(rng, l.rows(), p.heads * p.size, size, 8);
    for (index_t i = 0; i < s.rows; ++i)
      for (index_t j = 0; j < s.cols; ++j)
        s(i, j) = B::rounded(s(i, j) + float(mean));
    return s;
  };
  const auto q = numbers(p.queries, p.score, p.mean), k = numbers(p.keys, p.score, -p.mean),
             v = numbers(p.keys, 1, 0), dy = numbers(p.queries, 1, 0);
  attention_call<float> call;
  call.queries = &p.queries;
  call.keys = &p.keys;
  call.heads = p.heads;
  call.scale = float(1 / std::sqrt(double(p.size)));
  call.dropout = float(p.dropout);
  call.key = {key_of(11, 12), 13};
  attention_call<double> exact{&p.queries, &p.keys,       p.heads, double(call.scale),
                               double(call.dropout), call.key};

  const auto poison = [](const auto& like) {
    return poisoned<float>(like.rows, like.cols, 8);
  };
  host_workspace memory;
  const auto q2 = converted<double>(q), k2 = converted<double>(k), v2 = converted<double>(v),
             dy2 = converted<double>(dy);
  auto y2 = q2, dq2 = q2, dk2 = k2, dv2 = v2, logs2 = sheet<double>(q.rows, p.heads);
  reference<double>::attention(y2, logs2, q2, k2, v2, exact, memory);
  reference<double>::attention_backward(dq2, dk2, dv2, dy2, q2, k2, v2, logs2, exact, memory);

  const auto run = [&] {
    std::vector<sheet<float>> out{poison(q), poisoned<float>(q.rows, p.heads), poison(q), poison(k),
                                  poison(v)};
    watched_runtime::launches = 0;
    B::attention(out[0], out[1], q, k, v, call, memory);
    CHECK(watched_runtime::launches == (q.rows > 0 ? 1 : 0));
    B::attention_backward(out[2], out[3], out[4], dy, q, k, v, out[1], call, memory);
    CHECK(watched_runtime::launches == (q.rows > 0 ? 3 : 0));
    return out;
  };
  const auto out = run();
  // A gradient that ought to vanish does so but for the rounding of what it is a difference of.
  const double gradients = std::max(1.0, p.score) * 0.1;
  CHECK(difference(out[0], y2) <= tolerance<B>);
  CHECK(difference(out[1], logs2) <= 1e-5);
  CHECK(difference(out[2], dq2, gradients) <= tolerance<B>);
  CHECK(difference(out[3], dk2, gradients) <= tolerance<B>);
  CHECK(difference(out[4], dv2) <= tolerance<B>);
  for (const auto& s : out)
    CHECK(s.guards_untouched());

  // Equal bits, in whatever order the warps of a phase work.
  watched_runtime::backwards = true;
  const auto again = run();
  watched_runtime::backwards = false;
  const auto same = [](const sheet<float>& a, const sheet<float>& b) {
    for (index_t i = 0; i < a.rows; ++i)
      for (index_t j = 0; j < a.cols; ++j)
        if (a(i, j) != b(i, j))
          return false;
    return true;
  };
  for (std::size_t i = 0; i < out.size(); ++i)
    CHECK(same(again[i], out[i]));
}

#define GRAFT_ON_TENSOR_CORES watched<bf16>, watched<fp16>

TEMPLATE_TEST_CASE("attention on tensor cores is the reference's", "", GRAFT_ON_TENSOR_CORES) {
  random_stream rng(1);
  const std::vector<index_t> lengths{0, 1, 15, 16, 17, 63, 64, 65, 130};
  auto turned = lengths;
  std::reverse(turned.begin(), turned.end());
  for (index_t size : {32, 64, 128}) {
    // Of one length; of others; none at all.
    check<TestType>({layout_of(lengths), layout_of(lengths), size == 32 ? 3 : 1, size}, rng);
    check<TestType>({layout_of(lengths), layout_of(turned), 2, size}, rng);
    check<TestType>({layout_of({0, 0}), layout_of({0, 3}), 2, size}, rng);
  }
}

TEMPLATE_TEST_CASE("dropout on tensor cores draws the masks of all backends", "",
                   GRAFT_ON_TENSOR_CORES) {
  random_stream rng(2);
  for (index_t size : {32, 64, 128})
    for (double rate : {0.1, 0.5, 0.9})
      check<TestType>({layout_of({3, 70, 0, 33}), layout_of({131, 70, 2, 17}), 2, size, rate}, rng);
}

TEMPLATE_TEST_CASE("attention on tensor cores survives scores of any size", "",
                   GRAFT_ON_TENSOR_CORES) {
  random_stream rng(3);
  const layout rows = layout_of({9, 140});
  for (double size : {1e-3, 30.0}) {
    INFO("numbers of " << size);
    check<TestType>({rows, rows, 1, 64, 0, size}, rng);
  }
  // Logarithms below −128: what lies beyond the last row must not be their exponential.
  check<TestType>({rows, rows, 1, 64, 0, 1, 4}, rng);
  // Scores near 10⁷, of which the largest is all that counts, beside others a million below it: the
  // values that a query meets are then the largest key's own.
  auto q = poisoned<float>(149, 64, 8), k = q, v = q, y = q, dq = q, dk = q, dv = q;
  auto logs = poisoned<float>(149, 1);
  for (index_t i = 0; i < 149; ++i)
    for (index_t j = 0; j < 64; ++j) {
      q(i, j) = 1024;
      k(i, j) = i == 3 || i == 81 ? 1024.0f : i % 2 == 0 ? -1024.0f : 0.0f;
      v(i, j) = TestType::rounded(float(rng.normal()));
    }
  attention_call<float> call;
  call.queries = call.keys = &rows;
  call.scale = 0.125f;
  host_workspace memory;
  TestType::attention(y, logs, q, k, v, call, memory);
  TestType::attention_backward(dq, dk, dv, v, q, k, v, logs, call, memory);
  bool own = true, finite = true;
  for (index_t i = 0; i < 149; ++i)
    for (index_t j = 0; j < 64; ++j) {
      own = own && y(i, j) == v(i < 9 ? 3 : 81, j) && logs(i, 0) == 8388608.0f;
      finite = finite && dq(i, j) == 0 && dk(i, j) == 0 && std::isfinite(dv(i, j));
    }
  CHECK(own);
  CHECK(finite);
}

TEST_CASE("what tensor cores do not take is not given to them") {
  random_stream rng(5);
  const layout rows = layout_of({3, 20});
  const auto launches = [&]<class B>(std::type_identity<B>, index_t size, index_t wide, index_t guard,
                                     float scale) {
    const auto q = random_sheet<float>(rng, 23, 2 * size, 1, guard), k = q;
    const auto v = random_sheet<float>(rng, 23, 2 * wide, 1, guard);
    auto y = poisoned<float>(23, 2 * wide, guard), logs = poisoned<float>(23, 2);
    attention_call<float> call;
    call.queries = call.keys = &rows;
    call.heads = 2;
    call.scale = scale;
    host_workspace memory;
    watched_runtime::launches = 0;
    B::attention(y, logs, q, k, v, call, memory);
    auto exact = y, exact_logs = logs;
    reference<float>::attention(exact, exact_logs, q, k, v, call, memory);
    CHECK(distance(y, exact, 1) <= 0.1);
    return watched_runtime::launches;
  };
  const std::type_identity<watched<bf16>> half;
  CHECK(launches(half, 32, 32, 8, 0.1f) == 1);
  CHECK(launches(half, 32, 32, 4, 0.1f) == 0);   // rows at odd places
  CHECK(launches(half, 48, 48, 8, 0.1f) == 0);   // another size
  CHECK(launches(half, 32, 64, 8, 0.1f) == 0);   // of another size for the values
  CHECK(launches(half, 32, 32, 8, -0.1f) == 0);  // the largest score is not the largest product
  CHECK(launches(std::type_identity<watched<float>>{}, 32, 32, 8, 0.1f) == 0);
}

TEST_CASE("rows of every sequence are in one tile each, of a list whose length is bounded") {
  for (index_t height : {16, 64, 128})
    for (const auto& lengths : std::vector<std::vector<index_t>>{
             {}, {0}, {1}, {64}, {0, 1, 15, 16, 17, 63, 64, 65, 130, 0}, {300, 0, 128, 129}}) {
      auto turned = lengths;
      std::reverse(turned.begin(), turned.end());
      const layout rows = layout_of(lengths), others = layout_of(turned);
      const auto tiles = graft::detail::tiles_of_rows(rows, others, height);
      CHECK(index_t(tiles.size()) == (rows.rows() + height - 1) / height + rows.sequences());
      std::vector<int> times(std::size_t(rows.rows()));
      for (const auto& tile : tiles) {
        CHECK(tile.rows <= height);
        for (index_t i = tile.first; i < tile.first + tile.rows; ++i) {
          ++times[std::size_t(i)];
          index_t s = 0;
          while (rows.first(s + 1) <= i)
            ++s;
          CHECK(tile.place == tile.first - rows.first(s));
          CHECK(tile.first_other == others.first(s));
          CHECK(tile.others == others.length(s));
        }
      }
      CHECK(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
    }
}

#ifndef GRAFT_TESTS_ON_DEVICE

TEMPLATE_TEST_CASE("a warp's product of matrices is a product of matrices", "", bf16, fp16) {
  using T = TestType;
  using namespace graft::kernels;
  random_stream rng(4);
  constexpr int stride = 24;
  T a[16 * stride], b[16 * stride], turned[16 * stride];
  float exact[16][16] = {};
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j) {
      a[i * stride + j] = number_from<T>(float(rng.normal()));
      b[i * stride + j] = turned[j * stride + i] = number_from<T>(float(rng.normal()));
    }
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < 16; ++j)
      for (int k = 0; k < 16; ++k)
        exact[i][j] += to_float(a[i * stride + k]) * to_float(b[k * stride + j]);

  const warp w;
  per_lane<factor_share> strip[1];
  graft::kernels::detail::load_strip<T, 16>(w, strip, const_device_view(a, 16, stride), 0, 0, 16);
  for (const auto& right : {right_factor(w, b, stride), right_factor_transposed(w, turned, stride)}) {
    per_lane<sum_share> c;
    add_product<T>(w, c, strip[0], right);
    for (int l = 0; l < 32; ++l)
      for (int i = 0; i < 8; ++i)
        CHECK(c[l].of[i] == exact[row_of(l, i)][column_of(l, i)]);
    // A sum, rounded, is a left factor: c times the unit matrix.
    T unit[16 * stride];
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 16; ++j)
        unit[i * stride + j] = number_from<T>(i == j ? 1.0f : 0.0f);
    per_lane<factor_share> left;
    for (int l = 0; l < 32; ++l)
      left[l] = rounded<T>(c[l]);
    per_lane<sum_share> again;
    add_product<T>(w, again, left, right_factor(w, unit, stride));
    for (int l = 0; l < 32; ++l)
      for (int i = 0; i < 8; ++i)
        CHECK(again[l].of[i] == to_float(number_from<T>(c[l].of[i])));
  }
}

#endif

}  // namespace tensor_core_attention

}  // namespace graft_test
