// SPDX-License-Identifier: MIT
// The reference backend against numbers worked out by hand and against differences of its own
// values.
#include <graft/backend/reference.hpp>

#include <initializer_list>
#include <string>
#include <vector>

#include "backend/sheet.hpp"

namespace graft_test {

using namespace graft;
using graft::index_t;
using ref = reference<double>;

namespace {

sheet<double> rows(std::initializer_list<std::initializer_list<double>> values) {
  sheet<double> s(index_t(values.size()), index_t(values.begin()->size()));
  index_t i = 0;
  for (const auto& row : values) {
    std::copy(row.begin(), row.end(), s.data() + i * s.stride);
    ++i;
  }
  return s;
}

// Σ y ∘ weight: makes a number of a matrix, whose gradient is the weight.
double dot(const sheet<double>& y, const sheet<double>& weight) {
  double sum = 0;
  for (index_t i = 0; i < y.rows; ++i)
    for (index_t j = 0; j < y.cols; ++j)
      sum += y(i, j) * weight(i, j);
  return sum;
}

// How far `gradient` is from the central differences of loss(x).
template <class F>
double gradient_error(sheet<double> x, const sheet<double>& gradient, const F& loss) {
  sheet<double> differences = x;
  for (index_t i = 0; i < x.rows; ++i)
    for (index_t j = 0; j < x.cols; ++j) {
      const double was = x(i, j), step = 1e-5;
      x(i, j) = was + step;
      const double above = loss(x);
      x(i, j) = was - step;
      differences(i, j) = (above - loss(x)) / (2 * step);
      x(i, j) = was;
    }
  return distance(gradient, differences, 0.1);
}

constexpr double small = 1e-8;  // what differences can tell

layout small_layout(std::initializer_list<index_t> lengths) {
  layout l;
  for (index_t n : lengths)
    l.append(n, std::uint32_t(l.sequences() + 3));
  return l;
}

}  // namespace

TEST_CASE("a low-rank update of some rows, by hand") {
  const auto x = rows({{1, 2}, {3, 4}, {5, 6}});
  auto y = rows({{1, 1}, {1, 1}, {1, 1}});
  const auto a = rows({{1, -1}}), b = rows({{2}, {3}}), c = rows({{10, 20}});
  using update = row_update<matrix_view<const double>, double>;
  ref::add_low_rank(y, x, std::vector<update>{{1, 1, a, b, {}, 0.5}, {2, 1, a, b, c, 1}});
  CHECK(distance(y, rows({{1, 1}, {0, -0.5}, {9, 18}})) == 0);
}

TEST_CASE("philox gives the published numbers") {
  // The known answers of Random123 for philox4x32 with ten rounds.
  constexpr std::uint32_t f = 0xFFFFFFFFu;
  CHECK(philox({0, 0, 0, 0}, {0, 0}) ==
        philox_counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  CHECK(philox({f, f, f, f}, {f, f}) ==
        philox_counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        philox_counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

TEST_CASE("products of small matrices") {
  const auto x = rows({{1, 2}, {3, 4}, {5, 6}}), w = rows({{1, 0}, {2, -1}});
  auto y = poisoned<double>(3, 2);
  ref::product_nt(y, x, w, 1, false);  // x wᵀ
  CHECK(distance(y, rows({{1, 0}, {3, 2}, {5, 4}})) == 0);
  ref::product_nn(y, x, w, 2, true);  // + 2 x w
  CHECK(distance(y, rows({{11, -4}, {25, -6}, {39, -8}})) == 0);
  auto t = poisoned<double>(2, 2);
  ref::product_tn(t, x, rows({{1, 0}, {0, 1}, {1, 1}}), 1, false);
  CHECK(distance(t, rows({{6, 8}, {8, 10}})) == 0);
  ref::linear(y, x, w, rows({{10, 20}}));
  CHECK(distance(y, rows({{11, 20}, {13, 22}, {15, 24}})) == 0);
  auto sums = rows({{1, 1}});
  ref::sum_rows(sums, x);
  CHECK(distance(sums, rows({{10, 13}})) == 0);
}

TEST_CASE("elementwise operations of small matrices") {
  auto y = rows({{1, 2}, {3, 4}});
  const auto x = rows({{1, -1}, {2, 0}});
  ref::add(y, x);
  ref::add_scaled(y, x, 2);
  ref::scale(y, 0.5);
  CHECK(distance(y, rows({{2, -0.5}, {4.5, 2}})) == 0);
  ref::copy(y, x);
  CHECK(distance(y, x) == 0);
  ref::fill(y, 7);
  CHECK(distance(y, rows({{7, 7}, {7, 7}})) == 0);
}

TEST_CASE("activations have their known values") {
  const auto at = [](activation f, double x) {
    auto y = poisoned<double>(1, 1);
    ref::activate(y, rows({{x}}), f);
    return y(0, 0);
  };
  CHECK(at(activation::identity, -1.5) == -1.5);
  CHECK(at(activation::relu, -1.5) == 0);
  CHECK(at(activation::relu, 1.5) == 1.5);
  CHECK(at(activation::gelu, 1) == Approx(0.8413447460685429).epsilon(1e-15));
  CHECK(at(activation::gelu_tanh, 1) == Approx(0.8411919906082768).epsilon(1e-15));
  CHECK(at(activation::silu, 1) == Approx(0.7310585786300049).epsilon(1e-15));
  CHECK(at(activation::tanh, 1) == Approx(0.7615941559557649).epsilon(1e-15));
}

TEST_CASE("activations slope as their differences do") {
  random_stream rng(1);
  const auto x = random_sheet<double>(rng, 3, 5, 2), dy = random_sheet<double>(rng, 3, 5);
  for (activation f : {activation::identity, activation::relu, activation::gelu,
                       activation::gelu_tanh, activation::silu, activation::tanh}) {
    INFO(std::string(name_of(f)));
    auto dx = poisoned<double>(3, 5);
    ref::activate_backward(dx, dy, x, f);
    CHECK(gradient_error(x, dx, [&](const sheet<double>& at) {
            auto y = poisoned<double>(3, 5);
            ref::activate(y, at, f);
            return dot(y, dy);
          }) < small);
  }
}

TEST_CASE("dropout keeps the words that are large enough and scales what it keeps") {
  const layout l = small_layout({2});
  auto x = rows({{1, 1, 1, 1, 1}, {1, 1, 1, 1, 1}}), y = x;
  const dropout_key key{{1, 2}, 9};
  ref::dropout(y, x, 0.5, key, l.names);
  for (index_t i = 0; i < 2; ++i)
    for (index_t j = 0; j < 5; ++j) {
      const auto words = philox({std::uint32_t(j / 4), std::uint32_t(i), 3, 9}, key.key);
      CHECK(y(i, j) == (words[std::size_t(j % 4)] >= 0x80000000u ? 2.0 : 0.0));
    }
  ref::dropout(y, x, 0, key, l.names);
  CHECK(distance(y, x) == 0);

  const layout many = small_layout({200});
  sheet<double> ones(200, 50);
  ones.fill(1);
  auto dropped = ones, weight = ones;
  ref::dropout(dropped, ones, 0.25, key, many.names);
  CHECK(dot(dropped, weight) / 1e4 == Approx(1).margin(0.03));  // six standard deviations
}

TEST_CASE("layer norm of one row") {
  auto y = poisoned<double>(1, 4), stats = poisoned<double>(1, 2);
  ref::layer_norm(y, stats, rows({{1, 3, 1, 3}}), rows({{1, 1, 2, 2}}), rows({{0, 0, 1, 1}}), 0);
  CHECK(distance(y, rows({{-1, 1, -1, 3}})) == 0);
  CHECK(distance(stats, rows({{2, 1}})) == 0);
}

TEST_CASE("layer norm slopes as its differences do") {
  random_stream rng(2);
  const auto x = random_sheet<double>(rng, 3, 5), dy = random_sheet<double>(rng, 3, 5);
  const auto gain = random_sheet<double>(rng, 1, 5), bias = random_sheet<double>(rng, 1, 5);
  const auto loss = [&](const sheet<double>& in, const sheet<double>& g, const sheet<double>& b) {
    auto y = poisoned<double>(3, 5), stats = poisoned<double>(3, 2);
    ref::layer_norm(y, stats, in, g, b, 0.1);
    return dot(y, dy);
  };
  auto y = poisoned<double>(3, 5), dx = y, stats = poisoned<double>(3, 2);
  sheet<double> dgain(1, 5), dbias(1, 5);
  dgain.fill(0);
  dbias.fill(0);
  ref::layer_norm(y, stats, x, gain, bias, 0.1);
  ref::layer_norm_backward(dx, dy, x, stats, gain);
  ref::layer_norm_parameters(dgain, dbias, dy, x, stats);
  using in = const sheet<double>&;
  CHECK(gradient_error(x, dx, [&](in at) { return loss(at, gain, bias); }) < small);
  CHECK(gradient_error(gain, dgain, [&](in at) { return loss(x, at, bias); }) < small);
  CHECK(gradient_error(bias, dbias, [&](in at) { return loss(x, gain, at); }) < small);
}

TEST_CASE("attention of two keys") {
  const layout queries = small_layout({1}), keys = small_layout({2});
  attention_call<double> call;
  call.queries = &queries;
  call.keys = &keys;
  call.scale = 2;
  host_workspace w;
  auto y = poisoned<double>(1, 2), logs = poisoned<double>(1, 1);
  // Scaled scores 0 and log 3: probabilities 1/4 and 3/4.
  ref::attention(y, logs, rows({{1, 0}}), rows({{0, 5}, {std::log(3.0) / 2, 5}}),
                 rows({{4, 8}, {0, 4}}), call, w);
  CHECK(distance(y, rows({{1, 5}})) < 1e-15);
  CHECK(logs(0, 0) == Approx(std::log(4.0)).epsilon(1e-15));
}

TEST_CASE("attention keeps to its sequence and its head") {
  random_stream rng(3);
  const layout l = small_layout({2, 3});
  attention_call<double> call;
  call.queries = call.keys = &l;
  call.heads = 2;
  host_workspace w;
  const auto q = random_sheet<double>(rng, 5, 4), k = random_sheet<double>(rng, 5, 4);
  auto v = random_sheet<double>(rng, 5, 4);
  auto before = poisoned<double>(5, 4), logs = poisoned<double>(5, 2);
  ref::attention(before, logs, q, k, v, call, w);
  v(1, 3) += 1;  // the first sequence, the second head
  auto after = before;
  ref::attention(after, logs, q, k, v, call, w);
  for (index_t i = 0; i < 5; ++i)
    for (index_t j = 0; j < 4; ++j)
      CHECK((before(i, j) != after(i, j)) == (i < 2 && j == 3));
}

TEST_CASE("attention slopes as its differences do") {
  random_stream rng(4);
  const layout queries = small_layout({2, 0, 3, 1}), keys = small_layout({4, 2, 2, 0});
  for (double dropout : {0.0, 0.4}) {
    INFO("dropout " << dropout);
    attention_call<double> call;
    call.queries = &queries;
    call.keys = &keys;
    call.heads = 2;
    call.scale = 0.7;
    call.dropout = dropout;
    call.key = {{5, 6}, 7};
    host_workspace w;
    const auto q = random_sheet<double>(rng, 6, 6), dy = random_sheet<double>(rng, 6, 6);
    const auto k = random_sheet<double>(rng, 8, 6), v = random_sheet<double>(rng, 8, 6);
    auto y = poisoned<double>(6, 6), logs = poisoned<double>(6, 2);
    using in = const sheet<double>&;
    const auto loss = [&](in a, in b, in c) {
      ref::attention(y, logs, a, b, c, call, w);
      return dot(y, dy);
    };
    loss(q, k, v);
    const auto saved = logs;
    auto dq = poisoned<double>(6, 6), dk = poisoned<double>(8, 6), dv = dk;
    ref::attention_backward(dq, dk, dv, dy, q, k, v, saved, call, w);
    CHECK(gradient_error(q, dq, [&](in at) { return loss(at, k, v); }) < small);
    CHECK(gradient_error(k, dk, [&](in at) { return loss(q, at, v); }) < small);
    CHECK(gradient_error(v, dv, [&](in at) { return loss(q, k, at); }) < small);
  }
}

TEST_CASE("rows by number") {
  auto table = rows({{1, 2}, {3, 4}, {5, 6}});
  const std::vector<std::int32_t> ids{2, 0, 2};
  auto y = poisoned<double>(3, 2);
  ref::gather(y, table, ids, false);
  CHECK(distance(y, rows({{5, 6}, {1, 2}, {5, 6}})) == 0);
  ref::gather(y, table, ids, true);
  CHECK(distance(y, rows({{10, 12}, {2, 4}, {10, 12}})) == 0);
  ref::scatter_add(table, y, ids);
  CHECK(distance(table, rows({{3, 6}, {3, 4}, {25, 30}})) == 0);
}

TEST_CASE("pooling of two sequences and an empty one") {
  const layout l = small_layout({2, 0, 1});
  const auto x = rows({{1, 2}, {3, 6}, {5, 7}}), dy = rows({{2, 4}, {9, 9}, {6, 8}});
  auto y = poisoned<double>(3, 2), dx = y;
  ref::pool_first(y, x, l);
  CHECK(distance(y, rows({{1, 2}, {0, 0}, {5, 7}})) == 0);
  ref::pool_mean(y, x, l);
  CHECK(distance(y, rows({{2, 4}, {0, 0}, {5, 7}})) == 0);
  ref::pool_first_backward(dx, dy, l);
  CHECK(distance(dx, rows({{2, 4}, {0, 0}, {6, 8}})) == 0);
  ref::pool_mean_backward(dx, dy, l);
  CHECK(distance(dx, rows({{1, 2}, {1, 2}, {6, 8}})) == 0);
  ref::normalize_rows(y, rows({{3, 4}, {0, 0}, {0, -2}}));
  CHECK(distance(y, rows({{0.6, 0.8}, {0, 0}, {0, -1}})) < 1e-15);
}

TEST_CASE("cross entropy of small batches") {
  const auto y = rows({{0, std::log(3.0)}, {5, 5}, {1, 2}});
  const std::vector<std::int32_t> labels{1, 0, -100};
  const std::vector<double> weights{3, 1};
  const double log2 = std::log(2.0), log43 = std::log(4.0 / 3.0), log4 = std::log(4.0);
  ref::view none;
  CHECK(ref::cross_entropy(none, y, {labels}) == Approx((log43 + log2) / 2));
  CHECK(ref::cross_entropy(none, y, {labels, weights}) == Approx((log43 + 3 * log2) / 4));
  // Smoothing 0.2: each class has a tenth of its weight, the label eight tenths more.
  const double first = 0.8 * log43 + 0.1 * (3 * log4 + log43);
  const double second = 0.8 * 3 * log2 + 0.1 * (3 * log2 + log2);
  CHECK(ref::cross_entropy(none, y, {labels, weights, 0.2}) == Approx((first + second) / 4));
  const std::vector<std::int32_t> nothing{-100, -100, -100};
  auto dy = poisoned<double>(3, 2);
  CHECK(ref::cross_entropy(dy, y, {nothing}) == 0);
  CHECK(distance(dy, rows({{0, 0}, {0, 0}, {0, 0}})) == 0);
}

TEST_CASE("losses slope as their differences do") {
  random_stream rng(5);
  const auto y = random_sheet<double>(rng, 4, 3), target = random_sheet<double>(rng, 4, 3);
  const std::vector<std::int32_t> labels{2, 7, 0, 1};
  const std::vector<double> weights{0.5, 2, 1};
  ref::view none;
  using in = const sheet<double>&;
  for (double smoothing : {0.0, 0.3})
    for (bool weighted : {false, true}) {
      cross_entropy_call<double> call{labels, {}, smoothing, 7};
      if (weighted)
        call.weights = weights;
      auto dy = poisoned<double>(4, 3);
      ref::cross_entropy(dy, y, call);
      CHECK(gradient_error(y, dy, [&](in at) { return ref::cross_entropy(none, at, call); }) <
            small);
    }
  auto dy = poisoned<double>(4, 3);
  ref::squared_error(dy, y, target);
  CHECK(gradient_error(y, dy, [&](in at) { return ref::squared_error(none, at, target); }) < small);
  CHECK(ref::squared_error(none, rows({{1, 2}}), rows({{3, 1}})) == 2.5);
}

TEST_CASE("softmax of equal and unequal scores") {
  auto y = poisoned<double>(2, 2);
  ref::softmax(y, rows({{1000, 1000}, {0, std::log(3.0)}}));
  CHECK(distance(y, rows({{0.5, 0.5}, {0.25, 0.75}})) < 1e-15);
}

TEST_CASE("two steps of gradient descent with momentum") {
  auto w = rows({{1, -1}}), v = rows({{0, 0}});
  const auto g = rows({{2, 4}});
  CHECK(ref::squared_norm(g) == 20);
  sgd_call<double> call{0.1, 0.5, 0, false, 0.5};
  ref::sgd_update(w, v, g, call);  // v = (1, 2)
  CHECK(w(0, 0) == Approx(0.9));
  CHECK(w(0, 1) == Approx(-1.2));
  ref::sgd_update(w, v, g, call);  // v = (1.5, 3)
  CHECK(w(0, 0) == Approx(0.75));
  CHECK(w(0, 1) == Approx(-1.5));
  call.nesterov = true;
  call.decay = 1;
  ref::sgd_update(w, v, g, call);  // v = (1.75, 3.5), step (1.875, 3.75)
  CHECK(w(0, 0) == Approx(0.75 * 0.9 - 0.1875));
  CHECK(w(0, 1) == Approx(-1.5 * 0.9 - 0.375));
}

TEST_CASE("two steps of AdamW") {
  auto w = rows({{2}}), m = rows({{0}}), v = rows({{0}});
  adam_call<double> call{0.1, 0.9, 0.99, 1e-8, 0.5, 1, 0.5};
  ref::adam_update(w, m, v, rows({{8}}), call);
  // The corrected moments of the first step are the gradient, 4, and its square.
  CHECK(w(0, 0) == Approx(2 * 0.95 - 0.1 * 4 / (4 + 1e-8)).epsilon(1e-14));
  CHECK(m(0, 0) == Approx(0.4));
  CHECK(v(0, 0) == Approx(0.16));
  call.step = 2;
  const double before = w(0, 0);
  ref::adam_update(w, m, v, rows({{-2}}), call);
  const double mean = (0.9 * 0.4 - 0.1) / (1 - 0.81), square = (0.99 * 0.16 + 0.01) / (1 - 0.9801);
  CHECK(w(0, 0) == Approx(before * 0.95 - 0.1 * mean / (std::sqrt(square) + 1e-8)).epsilon(1e-14));
}

TEST_CASE("a matrix of less rank than its sizes is decomposed, too") {
  using B = reference<double>;
  // Rank 2 of 4: two columns are sums of the others.
  B::parameter w(5, 4), u(5, 4), s(1, 4), v(4, 4), again(5, 4);
  for (index_t i = 0; i < 5; ++i) {
    w(i, 0) = 1 + static_cast<double>(i * i);
    w(i, 1) = std::sin(static_cast<double>(i));
    w(i, 2) = w(i, 0) + w(i, 1) / 3;
    w(i, 3) = w(i, 0) - w(i, 1);
  }
  B::svd(u, s, v, w);
  CHECK(s(0, 1) > 0.1);
  CHECK(s(0, 2) < 1e-12);
  B::multiply_row(u, u, s, false);
  B::product_nn(again, u, v, 1, false);
  for (index_t i = 0; i < w.size(); ++i)
    CHECK(again.data[i] == Approx(w.data[i]).margin(1e-12));
}

}  // namespace graft_test
