// SPDX-License-Identifier: MIT
// Every operation of the backends against the reference, over whole outputs: those of the CPU and those of
// the GPU on an emulated device, or, in a program of its own, on a real one.
#include <graft/backend/reference.hpp>

#include <string>
#include <vector>

#include "backend/sheet.hpp"
#include "backend/through.hpp"

#ifdef GRAFT_TESTS_ON_DEVICE
#include <graft/backend/cuda.hpp>
#define GRAFT_TESTED through<cuda<float>>, through<cuda<bf16>>, through<cuda<fp16>>
#else
#include <graft/backend/cpu.hpp>
#include "support/emulated_device.hpp"
// (fp16 differs from bf16 in its conversions alone: not worth the time under the sanitizers.)
#ifdef __SANITIZE_ADDRESS__
#define GRAFT_TESTED cpu<float>, cpu<double>, through<emulated<float>>, through<emulated<bf16>>
#else
#define GRAFT_TESTED \
  cpu<float>, cpu<double>, through<emulated<float>>, through<emulated<bf16>>, through<emulated<fp16>>
#endif
#endif

namespace graft_test {

using namespace graft;
using graft::index_t;

namespace {

// What a backend is compared with: sums in double over the same numbers.
template <class B>
using oracle = reference<typename B::scalar>;

// Relative to the largest number of a row.
template <class B>
inline constexpr double tolerance_of = sizeof(typename B::scalar) == 8 ? 1e-12 : 1e-5;
template <class B>
inline constexpr double tolerance_of<through<B>> = sizeof(typename B::number) == 4 ? 1e-5 : 1e-2;

// The CPU backend sums squares in doubles, the GPU's in floats.
template <class B>
inline constexpr double tolerance_of_norm = 1e-12;
template <class B>
inline constexpr double tolerance_of_norm<through<B>> = 1e-6;

// The numbers as the backend can hold them.
template <class B>
auto held(sheet<typename B::scalar> s) {
  if constexpr (requires { B::rounded(1.0f); })
    for (index_t i = 0; i < s.rows; ++i)
      for (index_t j = 0; j < s.cols; ++j)
        s(i, j) = B::rounded(s(i, j));
  return s;
}

// Such numbers, of deviation `size`.
template <class B>
auto numbers_for(random_stream& rng, index_t rows, index_t cols, double size = 1,
                 index_t guard = 3) {
  return held<B>(random_sheet<typename B::scalar>(rng, rows, cols, size, guard));
}

// Runs `op` on B and on the reference with equal outputs and compares all of them. An output keeps its
// first values where `op` adds to it, and is poisoned where it overwrites. A second run, with the outputs
// at other addresses, must give equal bits.
template <class B, class Op>
void same(std::vector<sheet<typename B::scalar>> outputs, const Op& op, double floor = 0) {
  std::vector<sheet<typename B::scalar>> expected = outputs, again;
  for (const auto& s : outputs)
    again.push_back(s.moved(1));
  op.template operator()<oracle<B>>(expected);
  op.template operator()<B>(outputs);
  op.template operator()<B>(again);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    INFO("output " << i << " of [" << outputs[i].rows << ", " << outputs[i].cols << "]");
    CHECK(distance(outputs[i], expected[i], floor) <= tolerance_of<B>);
    CHECK(outputs[i].guards_untouched());
    CHECK(distance(again[i], outputs[i]) == 0);
  }
}

// Starts an output: numbers to add to, or poison to overwrite.
template <class B>
auto output(random_stream& rng, index_t rows, index_t cols, bool add, index_t guard = 3) {
  return add ? numbers_for<B>(rng, rows, cols, 1, guard)
             : poisoned<typename B::scalar>(rows, cols, guard);
}

layout layout_of(const std::vector<index_t>& lengths, std::uint32_t first_example = 5) {
  layout l;
  for (index_t n : lengths)
    l.append(n, first_example++);
  return l;
}

struct shape {
  index_t n, i, o;
};
const std::vector<shape> shapes{{1, 1, 1},    {1, 17, 33},    {33, 1, 17},   {17, 33, 1},
                                {5, 3, 2},    {40, 64, 8},    {130, 96, 4},  {64, 48, 64},
                                {257, 8, 96}, {130, 131, 67}, {512, 96, 100}};

const std::vector<activation> activations{activation::identity, activation::relu,
                                          activation::gelu,     activation::gelu_tanh,
                                          activation::silu,     activation::tanh,
                                          activation::sigmoid,  activation::leaky_relu};

}  // namespace

TEMPLATE_TEST_CASE("products are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(1);
  for (const shape& s : shapes)
    for (bool add : {false, true})
      for (T factor : {T(1), T(-0.375)}) {
        INFO("n " << s.n << " i " << s.i << " o " << s.o << " add " << add << " s " << factor);
        const auto x = numbers_for<TestType>(rng, s.n, s.i);
        const auto w = numbers_for<TestType>(rng, s.o, s.i, 1, 1);
        const auto dy = numbers_for<TestType>(rng, s.n, s.o, 1, 5);
        same<TestType>({output<TestType>(rng, s.n, s.o, add)},
                       [&]<class B>(auto& y) { B::product_nt(y[0], x, w, factor, add); });
        same<TestType>({output<TestType>(rng, s.n, s.i, add)},
                       [&]<class B>(auto& y) { B::product_nn(y[0], dy, w, factor, add); });
        same<TestType>({output<TestType>(rng, s.o, s.i, add)},
                       [&]<class B>(auto& y) { B::product_tn(y[0], dy, x, factor, add); });
      }
}

TEMPLATE_TEST_CASE("products with nothing to sum or nothing to fill are defined", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(2);
  const auto x = numbers_for<TestType>(rng, 7, 0);
  const auto w = numbers_for<TestType>(rng, 5, 0);
  same<TestType>({poisoned<T>(7, 5)},
                 [&]<class B>(auto& y) { B::product_nt(y[0], x, w, T(1), false); });
  same<TestType>({poisoned<T>(0, 5)}, [&]<class B>(auto& y) {
    B::product_nn(y[0], sheet<T>(0, 3), sheet<T>(3, 5), T(1), false);
  });
  same<TestType>({poisoned<T>(3, 5)}, [&]<class B>(auto& y) {
    B::product_tn(y[0], sheet<T>(0, 3), sheet<T>(0, 5), T(1), false);
  });
}

TEMPLATE_TEST_CASE("linear and sum_rows are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(3);
  for (const shape& s : shapes) {
    INFO("n " << s.n << " i " << s.i << " o " << s.o);
    const auto x = numbers_for<TestType>(rng, s.n, s.i);
    const auto w = numbers_for<TestType>(rng, s.o, s.i, 1, 0);
    const auto b = numbers_for<TestType>(rng, 1, s.o);
    same<TestType>({poisoned<T>(s.n, s.o)},
                   [&]<class B>(auto& y) { B::linear(y[0], x, w, b); });
    same<TestType>({poisoned<T>(s.n, s.o)},
                   [&]<class B>(auto& y) { B::linear(y[0], x, w, typename B::const_view{}); });
    same<TestType>({output<TestType>(rng, 1, s.i, true)},
                   [&]<class B>(auto& y) { B::sum_rows(y[0], x); });
  }
}

TEMPLATE_TEST_CASE("an activated linear map is the reference's, its argument wanted or not", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(32);
  for (const shape& s : {shape{0, 4, 8}, shape{1, 1, 1}, shape{33, 17, 9}, shape{40, 64, 48}, shape{7, 0, 5}})
    for (const activation f : {activation::gelu, activation::gelu_tanh, activation::relu})
      for (index_t guard : {0, 3}) {
        INFO("n " << s.n << " i " << s.i << " o " << s.o << " " << std::string(name_of(f)));
        const auto x = numbers_for<TestType>(rng, s.n, s.i), w = numbers_for<TestType>(rng, s.o, s.i, 0.25);
        const auto b = numbers_for<TestType>(rng, 1, s.o);
        const auto out = poisoned<T>(s.n, s.o, guard);
        // (The argument is rounded, and of about 1 where f of it is nearly 0.)
        same<TestType>({out, out}, [&]<class B>(auto& y) { B::linear_activated(y[0], y[1], x, w, b, f); }, 1);
        same<TestType>({out}, [&]<class B>(auto& y) { B::linear_activated(y[0], y[0], x, w, b, f); }, 1);
        same<TestType>({out, out}, [&]<class B>(auto& y) {
          B::linear_activated(y[0], y[1], x, w, typename B::const_view{}, f);
        }, 1);
      }
}

TEMPLATE_TEST_CASE("low-rank updates are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  using updates = std::vector<row_update<matrix_view<const T>, T>>;
  struct group {
    index_t first, rows, rank;
    bool bias;
  };
  random_stream rng(4);
  const auto check = [&](const shape& s, const std::vector<group>& groups) {
    std::vector<sheet<T>> maps;
    for (const group& g : groups) {
      maps.push_back(numbers_for<TestType>(rng, g.rank, s.i, 1, 1));
      maps.push_back(numbers_for<TestType>(rng, s.o, g.rank, 1, 2));
      maps.push_back(numbers_for<TestType>(rng, 1, s.o));
    }
    updates u;
    for (std::size_t i = 0; i < groups.size(); ++i) {
      const group& g = groups[i];
      u.push_back({g.first, g.rows, maps[3 * i], maps[3 * i + 1], {}, T(0.5) - T(i)});
      if (g.bias)
        u.back().bias = maps[3 * i + 2];
    }
    INFO("n " << s.n << " i " << s.i << " o " << s.o << " groups " << groups.size());
    const auto x = numbers_for<TestType>(rng, s.n, s.i);
    same<TestType>({output<TestType>(rng, s.n, s.o, true)},
            [&]<class B>(auto& y) { B::add_low_rank(y[0], x, u); });
  };
  check({5, 3, 2}, {});
  check({1, 1, 1}, {{0, 1, 1, false}});
  check({40, 64, 8}, {{0, 40, 4, true}});
  check({130, 33, 67}, {{1, 70, 2, false}, {80, 0, 3, true}, {90, 5, 9, true}, {99, 31, 1, false}});
  check({257, 96, 100}, {{64, 128, 65, true}, {0, 63, 130, false}, {200, 57, 8, false}});
  std::vector<group> many;
  for (index_t i = 0; i < 100; ++i)
    many.push_back({3 * i, 1 + i % 3, index_t{1} << i % 6, i % 7 == 0});
  check({300, 96, 48}, many);
}

#ifndef GRAFT_TESTS_ON_DEVICE
TEMPLATE_TEST_CASE("low-rank updates are the same bits on any number of threads", "", cpu<float>,
                   cpu<double>) {
  using T = typename TestType::scalar;
  random_stream rng(5);
  const auto x = numbers_for<TestType>(rng, 300, 384);
  const auto a = numbers_for<TestType>(rng, 16, 384), b = numbers_for<TestType>(rng, 128, 16);
  const std::vector<row_update<matrix_view<const T>, T>> updates{
      {0, 200, a, b, {}, T(2)}, {200, 64, a, b, {}, T(1)}, {264, 36, a, b, {}, T(3)}};
  const sheet<T> start = output<TestType>(rng, 300, 128, true);
  const index_t before = threads();
  std::vector<sheet<T>> found;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    found.push_back(start);
    TestType::add_low_rank(found.back(), x, updates);
  }
  set_threads(before);
  CHECK(distance(found[1], found[0]) == 0);
  CHECK(distance(found[2], found[0]) == 0);
  CHECK(distance(found[0], start) > 0);
}
#endif

TEMPLATE_TEST_CASE("elementwise operations are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(4);
  for (const shape& s : shapes)
    for (index_t guard : {0, 3}) {
      INFO("n " << s.n << " i " << s.i << " guard " << guard);
      const auto x = numbers_for<TestType>(rng, s.n, 3 * s.i, 2, guard);
      const auto out = [&](bool add) {
        return std::vector{output<TestType>(rng, s.n, 3 * s.i, add, guard)};
      };
      const T factor = T(0.5);
      same<TestType>(out(false), [&]<class B>(auto& y) { B::copy(y[0], x); });
      same<TestType>(out(false), [&]<class B>(auto& y) { B::fill(y[0], factor); });
      same<TestType>(out(true), [&]<class B>(auto& y) { B::scale(y[0], factor); });
      same<TestType>(out(true), [&]<class B>(auto& y) { B::add(y[0], x); });
      same<TestType>(out(true), [&]<class B>(auto& y) { B::add_scaled(y[0], x, factor); });
    }
}

TEMPLATE_TEST_CASE("rows, columns and sequences are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(6);
  for (const auto& lengths : {std::vector<index_t>{1}, {3, 0, 70, 1}, {130, 64, 5}})
    for (index_t cols : {1, 5, 48, 131}) {
      const layout rows = layout_of(lengths);
      const index_t n = rows.rows(), sequences = rows.sequences();
      INFO(n << " rows of " << cols);
      const auto x = numbers_for<TestType>(rng, n, cols), other = numbers_for<TestType>(rng, n, cols, 1, 1);
      const auto row = numbers_for<TestType>(rng, 1, cols), column = numbers_for<TestType>(rng, n, 1);
      const auto gates = numbers_for<TestType>(rng, sequences, 1);
      auto squares = numbers_for<TestType>(rng, n, cols);
      for (index_t i = 0; i < n; ++i)
        for (index_t j = 0; j < cols; ++j)
          squares(i, j) = T(0.5) + squares(i, j) * squares(i, j);
      same<TestType>({output<TestType>(rng, n, cols, true)}, [&]<class B>(auto& y) { B::multiply(y[0], x); });
      same<TestType>({output<TestType>(rng, n, cols, true)}, [&]<class B>(auto& y) { B::add_row(y[0], row); });
      for (bool add : {false, true}) {
        same<TestType>({output<TestType>(rng, n, cols, add)},
                [&]<class B>(auto& y) { B::multiply_row(y[0], x, row, add); });
        same<TestType>({output<TestType>(rng, n, cols, add)},
                [&]<class B>(auto& y) { B::multiply_column(y[0], x, column, add); });
        same<TestType>({output<TestType>(rng, n, 1, add)},
                [&]<class B>(auto& y) { B::dot_rows(y[0], x, other, T(-0.5), add); }, 1);
      }
      same<TestType>({output<TestType>(rng, 1, cols, true)},
              [&]<class B>(auto& y) { B::dot_columns(y[0], x, other); }, 1);
      same<TestType>({output<TestType>(rng, n, cols, false)},
              [&]<class B>(auto& y) { B::divide_by_root(y[0], x, squares); });
      same<TestType>({output<TestType>(rng, n, cols, false)},
              [&]<class B>(auto& y) { B::scale_sequences(y[0], x, gates, rows); });
      same<TestType>({output<TestType>(rng, sequences, 1, false)},
              [&]<class B>(auto& y) { B::dot_sequences(y[0], x, other, rows); }, 1);
      for (index_t p : {1, 3}) {
        const auto front = numbers_for<TestType>(rng, p, cols);
        const auto dy = numbers_for<TestType>(rng, n + sequences * p, cols);
        same<TestType>({output<TestType>(rng, n + sequences * p, cols, false)},
                [&]<class B>(auto& y) { B::prepend(y[0], front, x, rows); });
        same<TestType>({output<TestType>(rng, p, cols, true), output<TestType>(rng, n, cols, false)},
                [&]<class B>(auto& y) { B::prepend_backward(y[0], y[1], dy, rows); });
        same<TestType>({output<TestType>(rng, p, cols, true)},
                [&]<class B>(auto& y) { B::prepend_backward(y[0], {}, dy, rows); });
        const auto own = numbers_for<TestType>(rng, sequences * p, cols);
        same<TestType>({output<TestType>(rng, n + sequences * p, cols, false)},
                [&]<class B>(auto& y) { B::prepend(y[0], own, x, rows); });
        same<TestType>({output<TestType>(rng, sequences * p, cols, true), output<TestType>(rng, n, cols, false)},
                [&]<class B>(auto& y) { B::prepend_backward(y[0], y[1], dy, rows); });
        same<TestType>({output<TestType>(rng, n, cols, false)},
                [&]<class B>(auto& y) { B::prepend_backward({}, y[0], dy, rows); });
      }
    }
}

TEMPLATE_TEST_CASE("matrices in fewer bits become dense as the reference's do", "", GRAFT_TESTED) {
  using B = TestType;
  random_stream rng(12, 1);
  const auto check = [](const auto& q) {
    const auto dense = [&]<class Any>(auto& out) { Any::dequantize(out[0], q); };
    std::vector outputs{poisoned<typename B::scalar>(q->rows, q->cols, 3)};
    same<B>(outputs, dense);
    auto expected = outputs;
    dense.template operator()<oracle<B>>(expected);
    dense.template operator()<B>(outputs);
    if (q->rows > 1)  // a single row stays of floats
      expected[0] = held<B>(expected[0]);
    CHECK(distance(outputs[0], expected[0]) == 0);  // one rounding at most
  };
  for (const shape& s : shapes) {
    const auto w = random_sheet<float>(rng, s.n, s.i, 0.1);
    const matrix_view<const float> values = w;
    check(std::make_shared<const bf16_matrix>(quantize_bf16(values)));
    check(std::make_shared<const int8_matrix>(quantize_int8(values)));
    check(std::make_shared<const nf4_matrix>(quantize_nf4(values)));
  }
}

TEMPLATE_TEST_CASE("patches are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(14);
  for (const conv_geometry& g :
       {conv_geometry{.size = {3, 2}, .channels = 5},
        conv_geometry{.size = {7, 9}, .channels = 3, .kernel = {3, 2}, .stride = {2, 3},
                      .padding = {1, 2}, .dilation = {2, 3}},
        conv_geometry{.size = {40, 50}, .channels = 17, .kernel = {3, 3}, .padding = {1, 1}}})
    for (index_t images : {1, 4}) {
      const index_t columns = g.size.size() * g.channels;
      const index_t places = images * g.output().size();
      INFO(images << " images of " << columns << ", " << places << " places");
      const auto x = numbers_for<TestType>(rng, images, columns);
      const auto dy = numbers_for<TestType>(rng, places, g.patch());
      same<TestType>({poisoned<T>(places, g.patch())},
              [&]<class B>(auto& y) { B::patches(y[0], x, g); });
      same<TestType>({poisoned<T>(images, columns)},
              [&]<class B>(auto& y) { B::patches_backward(y[0], dy, g); });
    }
}

// What factors are, since their signs are free.
TEMPLATE_TEST_CASE("factorizations multiply to the matrix, and their vectors are orthonormal", "",
                   GRAFT_TESTED, reference<double>) {
  using B = TestType;
  using T = typename B::scalar;
  random_stream rng(7);
  const double limit = sizeof(T) == 8 ? 1e-12 : 1e-5;
  const auto orthonormal = [&](const sheet<T>& m, bool by_rows) {
    const index_t k = by_rows ? m.rows : m.cols, n = by_rows ? m.cols : m.rows;
    double worst = 0;
    for (index_t a = 0; a < k; ++a)
      for (index_t b = 0; b < k; ++b) {
        double sum = 0;
        for (index_t i = 0; i < n; ++i)
          sum += by_rows ? double(m(a, i)) * double(m(b, i)) : double(m(i, a)) * double(m(i, b));
        worst = std::max(worst, std::abs(sum - (a == b)));
      }
    return worst;
  };
  for (const auto& [rows, cols] : std::vector<std::pair<index_t, index_t>>{{1, 1}, {6, 4}, {4, 9}, {20, 20}}) {
    INFO(rows << " × " << cols);
    const auto w = numbers_for<TestType>(rng, rows, cols);
    const index_t k = std::min(rows, cols);
    sheet<T> u = poisoned<T>(rows, k), s = poisoned<T>(1, k), v = poisoned<T>(k, cols);
    B::svd(u, s, v, w);
    CHECK(orthonormal(u, false) <= limit);
    CHECK(orthonormal(v, true) <= limit);
    double worst = 0;
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j) {
        double sum = 0;
        for (index_t a = 0; a < k; ++a)
          sum += double(u(i, a)) * double(s(0, a)) * double(v(a, j));
        worst = std::max(worst, std::abs(sum - double(w(i, j))));
      }
    CHECK(worst <= 10 * limit);
    for (index_t a = 1; a < k; ++a)
      CHECK(s(0, a) <= s(0, a - 1));

    sheet<T> first = poisoned<T>(1, 1), u1 = poisoned<T>(rows, 1), v1 = poisoned<T>(1, cols);
    B::svd(u1, first, v1, w);
    CHECK(double(first(0, 0)) == Approx(double(s(0, 0))));

    sheet<T> q = poisoned<T>(rows, k), r = poisoned<T>(k, cols);
    B::qr(q, r, w);
    CHECK(orthonormal(q, false) <= limit);
    worst = 0;
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j) {
        double sum = 0;
        for (index_t a = 0; a < k; ++a)
          sum += double(q(i, a)) * double(r(a, j));
        worst = std::max(worst, std::abs(sum - double(w(i, j))));
      }
    CHECK(worst <= 10 * limit);
    for (index_t a = 0; a < k; ++a)
      for (index_t j = 0; j < a; ++j)
        CHECK(r(a, j) == 0);
  }
}

TEMPLATE_TEST_CASE("activations are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(5);
  for (const shape& s : {shape{1, 1, 1}, shape{3, 7, 5}, shape{70, 1100, 1}})
    for (index_t guard : {0, 3})
      for (activation f : activations) {
        INFO(std::string(name_of(f)) << " n " << s.n << " i " << s.i << " guard " << guard);
        const auto x = numbers_for<TestType>(rng, s.n, s.i, s.n > 1 ? 3 : 0.3, guard);
        const auto dy = numbers_for<TestType>(rng, s.n, s.i, 1, guard);
        const std::vector out{poisoned<T>(s.n, s.i, guard)};
        same<TestType>(out, [&]<class B>(auto& y) { B::activate(y[0], x, f); });
        same<TestType>(out, [&]<class B>(auto& y) { B::activate_backward(y[0], dy, x, f); });
        // In place, y over x and dx over dy.
        same<TestType>({x}, [&]<class B>(auto& y) { B::activate(y[0], y[0], f); });
        same<TestType>({dy}, [&]<class B>(auto& y) { B::activate_backward(y[0], y[0], x, f); });
      }
}

TEMPLATE_TEST_CASE("activations hold far from zero", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  sheet<T> x(1, 161);
  for (index_t j = 0; j < x.cols; ++j)
    x(0, j) = T(0.125) * T(j - 80);
  auto dy = x;
  dy.fill(1);
  for (activation f : activations) {
    INFO(std::string(name_of(f)));
    auto y = poisoned<T>(1, 161), dx = y, expected = y, slope = y;
    TestType::activate(y, x, f);
    oracle<TestType>::activate(expected, x, f);
    TestType::activate_backward(dx, dy, x, f);
    oracle<TestType>::activate_backward(slope, dy, x, f);
    double value_error = 0, slope_error = 0;
    for (index_t j = 0; j < x.cols; ++j) {
      value_error = std::max(value_error, std::abs(double(y(0, j)) - double(expected(0, j))) /
                                              std::max(1.0, std::abs(double(x(0, j)))));
      slope_error = std::max(slope_error, std::abs(double(dx(0, j)) - double(slope(0, j))));
    }
    const double few_bits = 16 * double(std::numeric_limits<T>::epsilon());
    CHECK(value_error <= few_bits / 4);
    CHECK(slope_error <= few_bits);
  }
}

TEMPLATE_TEST_CASE("dropout draws the defined mask", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(6);
  for (const shape& s :
       {shape{1, 1, 1}, shape{9, 7, 1}, shape{5, 64, 1}, shape{3, 1500, 1}, shape{40, 387, 1}})
    for (double rate : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      INFO("n " << s.n << " i " << s.i << " rate " << rate);
      const auto x = numbers_for<TestType>(rng, s.n, s.i);
      layout rows;
      while (rows.rows() < s.n)
        rows.append(std::min<index_t>(4, s.n - rows.rows()), 3000000000u + rng.bits() % 100);
      const dropout_key key{key_of(rng.bits(), 7), 0xFFFFFFF0u};
      const T r = T(rate);
      same<TestType>({poisoned<T>(s.n, s.i)},
                     [&]<class B>(auto& y) { B::dropout(y[0], x, r, key, rows.names); });
      same<TestType>({x}, [&]<class B>(auto& y) { B::dropout(y[0], y[0], r, key, rows.names); });
    }
}

TEMPLATE_TEST_CASE("layer norm is the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(7);
  for (const shape& s : {shape{1, 1, 1}, shape{1, 5, 1}, shape{7, 2, 1}, shape{65, 33, 1},
                         shape{130, 384, 1}, shape{70, 70, 1}}) {
    INFO("n " << s.n << " c " << s.i);
    auto x = numbers_for<TestType>(rng, s.n, s.i, 2);
    for (index_t j = 0; j < s.i; ++j)
      x(0, j) += T(3);
    x = held<TestType>(x);
    const auto gain = numbers_for<TestType>(rng, 1, s.i),
               bias = numbers_for<TestType>(rng, 1, s.i);
    const auto dy = numbers_for<TestType>(rng, s.n, s.i);
    const T eps = T(1e-3);
    same<TestType>({poisoned<T>(s.n, s.i), poisoned<T>(s.n, 2)},
                   [&]<class B>(auto& y) { B::layer_norm(y[0], y[1], x, gain, bias, eps); });
    auto y = poisoned<T>(s.n, s.i), stats = poisoned<T>(s.n, 2);
    oracle<TestType>::layer_norm(y, stats, x, gain, bias, eps);
    if (s.i > 1) {  // with one column dx is rounding error alone
      same<TestType>({poisoned<T>(s.n, s.i)},
                     [&]<class B>(auto& d) { B::layer_norm_backward(d[0], dy, x, stats, gain); });
      same<TestType>({dy},
                     [&]<class B>(auto& d) { B::layer_norm_backward(d[0], d[0], x, stats, gain); });
    }
    same<TestType>({output<TestType>(rng, 1, s.i, true), output<TestType>(rng, 1, s.i, true)},
                   [&]<class B>(auto& d) { B::layer_norm_parameters(d[0], d[1], dy, x, stats); });
    same<TestType>({output<TestType>(rng, 1, s.i, true)}, [&]<class B>(auto& d) {
      B::layer_norm_parameters(typename B::view{}, d[0], dy, x, stats);
    });
  }
}

TEMPLATE_TEST_CASE("a sum and its norm are the reference's, and the same bits as one after the other", "",
                   GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(71);
  const T eps = T(1e-3);
  for (const shape& s : {shape{0, 8, 1}, shape{1, 1, 1}, shape{3, 7, 1}, shape{9, 64, 1}, shape{33, 384, 1},
                         shape{5, 1022, 1}, shape{3, 1024, 1}, shape{3, 1028, 1}, shape{2, 2500, 1}})
    for (index_t guard : {0, 3, 4}) {
      INFO("n " << s.n << " c " << s.i << " guard " << guard);
      const auto h = numbers_for<TestType>(rng, s.n, s.i, 2, guard);
      const auto t = numbers_for<TestType>(rng, s.n, s.i, 1, guard);
      const auto gain = numbers_for<TestType>(rng, 1, s.i), bias = numbers_for<TestType>(rng, 1, s.i);
      const auto dy = numbers_for<TestType>(rng, s.n, s.i, 1, guard);
      const auto out = poisoned<T>(s.n, s.i, guard), stats = poisoned<T>(s.n, 2);
      same<TestType>({out, out, stats}, [&]<class B>(auto& y) {
        B::add_layer_norm(y[0], y[1], y[2], h, t, gain, bias, eps);
      });
      // The sum in the place of h, and the norm in that of both.
      same<TestType>({out, h, stats}, [&]<class B>(auto& y) {
        B::add_layer_norm(y[0], y[1], y[2], y[1], t, gain, bias, eps);
      });
      same<TestType>({h, stats}, [&]<class B>(auto& y) {
        B::add_layer_norm(y[0], y[0], y[1], y[0], t, gain, bias, eps);
      });
      same<TestType>({out, stats}, [&]<class B>(auto& y) {
        B::add_layer_norm(y[0], y[0], y[1], h, t, gain, bias, eps);
      });
      auto sum = h, apart = out, together = out, first = stats, second = stats, sums = out;
      TestType::add(sum, t);
      TestType::layer_norm(apart, first, sum, gain, bias, eps);
      TestType::add_layer_norm(together, sums, second, h, t, gain, bias, eps);
      CHECK(distance(together, apart) == 0);
      CHECK(distance(sums, sum) == 0);
      CHECK(distance(second, first) == 0);
      if (s.i > 1) {
        same<TestType>({out}, [&]<class B>(auto& d) { B::layer_norm_backward(d[0], dy, sum, first, gain); });
        same<TestType>({dy}, [&]<class B>(auto& d) { B::layer_norm_backward(d[0], d[0], sum, first, gain); });
      }
    }
}

TEMPLATE_TEST_CASE("attention is the reference's, forward and backward", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(8);
  const std::vector<std::pair<layout, layout>> layouts{
      {layout_of({1}), layout_of({1})},
      {layout_of({3, 1, 7}), layout_of({3, 1, 7})},
      {layout_of({2, 0, 5, 3}), layout_of({4, 2, 0, 6})},  // no queries; no keys
      {layout_of({0}), layout_of({0})},
      {layout_of({64, 130, 65}), layout_of({70, 130, 3})}};
  for (const auto& pair : layouts)
    for (index_t size : {1, 8, 32, 64})
      for (double dropout : {0.0, 0.3}) {
        const layout &queries = pair.first, &keys = pair.second;
        const index_t heads = size < 64 ? 3 : 1;
        INFO("rows " << queries.rows() << " keys " << keys.rows() << " size " << size << " dropout "
                     << dropout);
        const auto make = [&](const layout& l) {
          return numbers_for<TestType>(rng, l.rows(), heads * size);
        };
        const auto q = make(queries), k = make(keys), v = make(keys), dy = make(queries);
        attention_call<T> call;
        call.queries = &queries;
        call.keys = &keys;
        call.heads = heads;
        call.scale = T(1 / std::sqrt(double(size)));
        call.dropout = T(dropout);
        call.key = {key_of(11, 12), 13};
        host_workspace memory;
        const auto poison = [&](const sheet<T>& s) {
          return poisoned<T>(s.rows, s.cols, 5);
        };
        auto logs = poisoned<T>(queries.rows(), heads), y = poison(q);
        oracle<TestType>::attention(y, logs, q, k, v, call, memory);
        if (keys.length(keys.sequences() - 1) > 0 && queries.rows() != 10) {
          same<TestType>(
              {poison(q), poisoned<T>(queries.rows(), heads)},
              [&]<class B>(auto& out) { B::attention(out[0], out[1], q, k, v, call, memory); });
        } else {  // the logarithm of an empty sum is infinite: compare the outputs alone
          same<TestType>({poison(q)}, [&]<class B>(auto& out) {
            auto own = poisoned<T>(queries.rows(), heads);
            B::attention(out[0], own, q, k, v, call, memory);
          });
        }
        same<TestType>(
            {poison(q), poison(k), poison(v)},
            [&]<class B>(auto& out) {
              B::attention_backward(out[0], out[1], out[2], dy, q, k, v, logs, call, memory);
            },
            0.1);
        CHECK(memory.bytes_in_use() == 0);
      }
}

TEMPLATE_TEST_CASE("attention survives scores of any size", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(9);
  const layout rows = layout_of({9, 70});
  const auto q = numbers_for<TestType>(rng, 79, 16, 30),
             k = numbers_for<TestType>(rng, 79, 16, 30);
  const auto v = numbers_for<TestType>(rng, 79, 16);
  attention_call<T> call;
  call.queries = call.keys = &rows;
  call.heads = 2;
  host_workspace memory;
  auto y = poisoned<T>(79, 16), logs = poisoned<T>(79, 2);
  TestType::attention(y, logs, q, k, v, call, memory);
  auto expected = y, expected_logs = logs;
  oracle<TestType>::attention(expected, expected_logs, q, k, v, call, memory);
  // Scores near 10⁴ carry an absolute error of their size times the precision.
  CHECK(distance(y, expected) <= 1e3 * tolerance_of<TestType>);
  CHECK(distance(logs, expected_logs) <= tolerance_of<TestType>);
}

TEMPLATE_TEST_CASE("rows by number and pooling are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(10);
  for (index_t cols : {1, 7, 64, 200})
    for (index_t n : {1, 3, 300}) {
      INFO("n " << n << " cols " << cols);
      const auto table = numbers_for<TestType>(rng, 11, cols),
                 y = numbers_for<TestType>(rng, n, cols);
      std::vector<std::int32_t> ids;
      for (index_t i = 0; i < n; ++i)
        ids.push_back(std::int32_t(rng.below(11)));
      for (bool add : {false, true})
        same<TestType>({output<TestType>(rng, n, cols, add)},
                       [&]<class B>(auto& out) { B::gather(out[0], table, ids, add); });
      same<TestType>({table}, [&]<class B>(auto& out) { B::scatter_add(out[0], y, ids); });
    }
  const layout rows = layout_of({3, 1, 0, 250, 2});
  const index_t n = rows.rows(), s = rows.sequences();
  for (index_t cols : {1, 7, 200}) {
    INFO("pooling of " << cols << " columns");
    const auto x = numbers_for<TestType>(rng, n, cols), dy = numbers_for<TestType>(rng, s, cols);
    const std::vector one{poisoned<T>(s, cols)}, all{poisoned<T>(n, cols)};
    same<TestType>(one, [&]<class B>(auto& y) { B::pool_first(y[0], x, rows); });
    same<TestType>(one, [&]<class B>(auto& y) { B::pool_mean(y[0], x, rows); });
    same<TestType>(all, [&]<class B>(auto& d) { B::pool_first_backward(d[0], dy, rows); });
    same<TestType>(all, [&]<class B>(auto& d) { B::pool_mean_backward(d[0], dy, rows); });
    auto some = x;
    for (index_t j = 0; j < cols; ++j)
      some(1, j) = 0;
    same<TestType>(all, [&]<class B>(auto& y) { B::normalize_rows(y[0], some); });
    same<TestType>({some}, [&]<class B>(auto& y) { B::normalize_rows(y[0], y[0]); });
    same<TestType>(all, [&]<class B>(auto& y) { B::round_rows(y[0], some); });
    same<TestType>({some}, [&]<class B>(auto& y) { B::round_rows(y[0], y[0]); });
  }
}

TEMPLATE_TEST_CASE("losses and softmax are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(11);
  for (index_t classes : {1, 2, 5, 301})
    for (index_t n : {1, 9, 130})
      for (double smoothing : {0.0, 0.1})
        for (bool weighted : {false, true}) {
          INFO("n " << n << " classes " << classes << " smoothing " << smoothing << " weighted "
                    << weighted);
          const auto y = numbers_for<TestType>(rng, n, classes, 5);
          const auto target = numbers_for<TestType>(rng, n, classes);
          std::vector<std::int32_t> labels;
          std::vector<T> weights;
          for (index_t i = 0; i < n; ++i)
            labels.push_back(i % 4 == 3 ? -7 : std::int32_t(rng.below(std::uint64_t(classes))));
          for (index_t c = 0; weighted && c < classes; ++c)
            weights.push_back(T(0.5 + rng.uniform()));
          const cross_entropy_call<T> call{labels, weights, T(smoothing), -7};
          // The loss is the second output, alone in its row.
          const std::vector outputs{poisoned<T>(n, classes), poisoned<T>(1, 1)};
          if (classes > 1)  // with one class loss and gradient are rounding error alone
            same<TestType>(
                outputs,
                [&]<class B>(auto& out) { out[1](0, 0) = B::cross_entropy(out[0], y, call); },
                1.0 / double(n));
          same<TestType>(outputs, [&]<class B>(auto& out) {
            out[1](0, 0) = B::squared_error(out[0], y, target);
            B::softmax(out[0], y);
          });
          same<TestType>(outputs, [&]<class B>(auto& out) {
            out[1](0, 0) = B::squared_error(out[0], y, target);
          });
          same<TestType>({y}, [&]<class B>(auto& out) { B::softmax(out[0], out[0]); });
          using view = typename TestType::view;
          auto dy = poisoned<T>(n, classes);
          CHECK(TestType::cross_entropy(view{}, y, call) ==
                TestType::cross_entropy(dy, y, call));
          CHECK(TestType::squared_error(view{}, y, target) ==
                TestType::squared_error(dy, y, target));
        }
}

// −∞: a class that the row cannot be of, as if there were no such column.
TEMPLATE_TEST_CASE("impossible classes have no part in the loss", "", GRAFT_TESTED,
                   reference<double>) {
  using B = TestType;
  using T = typename B::scalar;
  const T never = -std::numeric_limits<T>::infinity();
  // 19 columns: more than one vector of any width.
  for (const index_t classes : {5, 19})
    for (const double smoothing : {0.0, 0.3}) {
      INFO(classes << " classes, smoothing " << smoothing);
      random_stream rng(14);
      auto all = numbers_for<TestType>(rng, 2, classes);
      auto alone = numbers_for<TestType>(rng, 2, classes - 2);
      auto dy = poisoned<T>(2, classes), expected = poisoned<T>(2, classes - 2);
      std::vector<T> weights(static_cast<std::size_t>(classes), T(0.5)), of_alone(weights);
      of_alone.resize(weights.size() - 2);
      for (index_t i = 0; i < 2; ++i) {
        all(i, 1) = all(i, classes - 1) = never;
        for (index_t c = 0; c < classes - 2; ++c)
          alone(i, c) = all(i, c + (c >= 1));
      }
      const std::vector<std::int32_t> labels{2, 0}, labels_alone{1, 0};
      const T found = B::cross_entropy(
          dy, all, cross_entropy_call<T>{labels, weights, T(smoothing), -100});
      const T wanted = B::cross_entropy(
          expected, alone, cross_entropy_call<T>{labels_alone, of_alone, T(smoothing), -100});
      CHECK(std::isfinite(found));
      CHECK(found == Approx(wanted).epsilon(1e-6));
      for (index_t i = 0; i < 2; ++i) {
        CHECK(dy(i, 1) == 0);
        CHECK(dy(i, classes - 1) == 0);
        for (index_t c = 0; c < classes - 2; ++c)
          CHECK(dy(i, c + (c >= 1)) == Approx(expected(i, c)).epsilon(1e-5).margin(1e-7));
      }
    }
}

TEMPLATE_TEST_CASE("a batch without a row that counts has loss and gradient zero", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(12);
  const auto y = numbers_for<TestType>(rng, 2, 3);
  const std::vector<std::int32_t> labels{-100, -100};
  auto dy = poisoned<T>(2, 3);
  CHECK(TestType::cross_entropy(dy, y, {labels}) == 0);
  auto zero = dy;
  zero.fill(0);
  CHECK(distance(dy, zero) == 0);
}

TEMPLATE_TEST_CASE("updates and norms are the reference's", "", GRAFT_TESTED) {
  using T = typename TestType::scalar;
  random_stream rng(13);
  for (index_t n : {0, 1, 13, 1024, 5000, 70001}) {
    INFO("n " << n);
    const auto g = numbers_for<TestType>(rng, 1, n, 1, 0);
    const std::vector start{numbers_for<TestType>(rng, 1, n), numbers_for<TestType>(rng, 1, n),
                            numbers_for<TestType>(rng, 1, n)};
    auto squares = start;
    for (T& v : squares[2].values)
      v = v == sheet<T>::guarded ? v : v * v;
    using real = T;
    for (std::int64_t step : {1, 2, 1000}) {
      const adam_call<real> call{real(0.01),  real(0.9), real(0.999), real(1e-6),
                                 real(0.125), step,      real(0.25)};
      same<TestType>(squares, [&]<class B>(auto& s) {
        B::adam_update(s[0], s[1], s[2], g, call);
      });
    }
    for (bool nesterov : {false, true}) {
      const sgd_call<real> call{real(0.01), real(0.9), real(0.125), nesterov, real(0.25)};
      same<TestType>({start[0], start[1]},
                 [&]<class B>(auto& s) { B::sgd_update(s[0], s[1], g, call); });
    }
    CHECK(TestType::squared_norm(g) ==
          Approx(oracle<TestType>::squared_norm(g)).epsilon(tolerance_of_norm<TestType>));
  }
}

}  // namespace graft_test
