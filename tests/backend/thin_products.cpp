// SPDX-License-Identifier: MIT
// Products with a thin matrix, as low-rank updates have them, against sums in doubles over the numbers as
// they are multiplied.
#include <graft/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

#include "support/catch.hpp"
#ifdef GRAFT_TESTS_ON_DEVICE
#include <graft/backend/cuda.hpp>
#else
#include "support/emulated_device.hpp"
#endif

namespace graft_test::thin_products {

using namespace graft;
using graft::index_t;

namespace {

#ifdef GRAFT_TESTS_ON_DEVICE
template <class T>
using tested = cuda<T>;
#else
template <class T>
using tested = emulated<T>;
#endif

// [rows, cols] of U at a stride, with guards beside every row and behind the last.
template <class U>
struct plate {
  index_t rows, cols, stride;
  std::vector<U> memory;

  plate(index_t r, index_t c, index_t guard)
      : rows(r), cols(c), stride(c + guard),
        memory(static_cast<std::size_t>(r * (c + guard) + 8), number_from<U>(77.0f)) {}
  plate(random_stream& rng, index_t r, index_t c, index_t guard) : plate(r, c, guard) {
    for (index_t i = 0; i < r; ++i)
      for (index_t j = 0; j < c; ++j)
        view().set(i, j, static_cast<float>(rng.normal()));
  }
  device_view view() { return {memory.data(), rows, cols, stride, number_type_of<U>}; }
  void poison() {
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < cols; ++j)
        view().set(i, j, NAN);
  }
  bool guards_untouched() const {
    for (std::size_t n = 0; n < memory.size(); ++n) {
      const auto at = static_cast<index_t>(n);
      if (!(at < rows * stride && at % stride < cols) && to_float(memory[n]) != 77.0f)
        return false;
    }
    return true;
  }
};

// A plate's numbers in a device's memory.
template <class Device, class U>
class lent {
 public:
  explicit lent(plate<U>& p) : plate_(p), data_(Device::allocate((bytes() / 256 + 1) * 256)) {
    Device::upload(data_, p.memory.data(), bytes());
    Device::wait();
  }
  lent(const lent&) = delete;
  lent& operator=(const lent&) = delete;
  ~lent() { Device::release(data_); }
  device_view view() const {
    device_view v = plate_.view();
    v.data = data_;
    return v;
  }
  void bring_back() { Device::download(plate_.memory.data(), data_, bytes()); }

 private:
  std::size_t bytes() const { return plate_.memory.size() * sizeof(U); }
  plate<U>& plate_;
  void* data_;
};

// Of the product itself, relative to the largest number that it could be: all summands of one sign.
template <class T>
constexpr double tolerance_of = number_type_of<T> == number_type::bf16 ? 4e-3 : 5e-4;

template <class T, class Y, class W>
void check(random_stream& rng, bool turn_x, bool turn_w, index_t n, index_t c, index_t inner,
           index_t guard, bool add) {
  using B = tested<T>;
  using device = typename B::device;
  plate<T> x(rng, turn_x ? inner : n, turn_x ? n : inner, guard);
  plate<W> w(rng, turn_w ? c : inner, turn_w ? inner : c, guard);
  plate<Y> y(rng, n, c, guard), again(n, c, guard);
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < c; ++j)
      again.view().set(i, j, y.view()(i, j));
  plate<Y> before = y;
  if (!add) {
    y.poison();
    again.poison();
  }
  const float s = -0.75f;
  const lent<device, T> x_there(x);
  const lent<device, W> w_there(w);
  for (plate<Y>* out : {&y, &again}) {
    lent<device, Y> there(*out);
    if (turn_x)
      B::product_tn(there.view(), x_there.view(), w_there.view(), s, add);
    else if (turn_w)
      B::product_nt(there.view(), x_there.view(), w_there.view(), s, add);
    else
      B::product_nn(there.view(), x_there.view(), w_there.view(), s, add);
    there.bring_back();
  }
  double worst = 0;
  for (index_t i = 0; i < n; ++i)
    for (index_t j = 0; j < c; ++j) {
      double sum = 0, most = 0;
      for (index_t k = 0; k < inner; ++k) {
        const double a = turn_x ? x.view()(k, i) : x.view()(i, k);
        const double b = to_float(number_from<T>(turn_w ? w.view()(j, k) : w.view()(k, j)));
        sum += a * b;
        most += std::abs(a * b);
      }
      const double first = add ? double(before.view()(i, j)) : 0.0;
      const double expected = s * sum + first, found = y.view()(i, j);
      const double error = std::abs(found - expected) / std::max(1e-3, 0.75 * most + std::abs(first));
      worst = std::isnan(error) ? 1e9 : std::max(worst, error);
      if (double(again.view()(i, j)) != found)
        worst = 1e9;
    }
  INFO("[" << n << ", " << c << "] over " << inner << ", turned " << turn_x << turn_w << ", guard " << guard
           << ", add " << add);
  CHECK(worst <= (number_type_of<Y> == number_type::f32 ? 1e-5 : tolerance_of<T>));
  CHECK(y.guards_untouched());
  CHECK(again.guards_untouched());
}

const std::vector<index_t> ranks{1, 2, 3, 4, 8, 11, 16, 17, 32, 33};

}  // namespace

TEMPLATE_TEST_CASE("products that make few columns", "", bf16, fp16) {
  random_stream rng(81);
  for (const index_t rank : ranks)
    for (const bool turn_w : {false, true})
      for (const bool add : {false, true})
        for (const index_t guard : {0, 3, 8}) {
          check<TestType, TestType, float>(rng, false, turn_w, 37, rank, 150, guard, add);
          check<TestType, float, float>(rng, false, turn_w, 16, rank, 136, guard, add);
        }
  for (const index_t n : {1, 15, 16, 17})
    for (const index_t inner : {1, 7, 32, 33, 128, 260})
      check<TestType, TestType, float>(rng, false, true, n, 8, inner, 0, false);
}

TEMPLATE_TEST_CASE("products with few summands", "", bf16, fp16) {
  random_stream rng(82);
  for (const index_t rank : ranks)
    for (const bool turn_w : {false, true})
      for (const bool add : {false, true})
        for (const index_t guard : {0, 3, 8}) {
          check<TestType, TestType, float>(rng, false, turn_w, 70, 72, rank, guard, add);
          check<TestType, float, float>(rng, false, turn_w, 5, 40, rank, guard, add);
        }
  for (const index_t n : {1, 16, 63, 64, 65, 130})
    for (const index_t c : {1, 31, 33, 64, 100})
      check<TestType, TestType, float>(rng, false, true, n, c, 8, 0, true);
}

TEMPLATE_TEST_CASE("products over many rows that are thin on either side", "", bf16, fp16) {
  random_stream rng(83);
  for (const index_t rank : ranks)
    for (const bool add : {false, true})
      for (const index_t guard : {0, 3, 8}) {
        check<TestType, float, TestType>(rng, true, false, 72, rank, 70, guard, add);
        check<TestType, float, TestType>(rng, true, false, rank, 72, 70, guard, add);
        check<TestType, TestType, TestType>(rng, true, false, rank, 40, 33, guard, add);
      }
  for (const index_t inner : {1, 15, 64, 65, 129, 1000, 9000})  // rows
    check<TestType, float, TestType>(rng, true, false, 4, 65, inner, 0, true);
  check<TestType, float, TestType>(rng, true, false, 8, 8, 100, 0, false);
}

TEMPLATE_TEST_CASE("thin products of nothing", "", bf16, fp16) {
  random_stream rng(84);
  check<TestType, TestType, float>(rng, false, true, 0, 8, 64, 0, true);
  check<TestType, TestType, float>(rng, false, true, 3, 8, 0, 0, false);
  check<TestType, float, TestType>(rng, true, false, 8, 64, 0, 0, true);
  check<TestType, float, TestType>(rng, true, false, 8, 64, 0, 0, false);
}

}  // namespace graft_test::thin_products
