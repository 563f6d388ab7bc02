// SPDX-License-Identifier: MIT
// backend/cuda/: views, warps, storage, on an emulated device.
#include <graft/core/context.hpp>
#include <graft/core/demand.hpp>
#include <graft/core/random.hpp>
#include <graft/layer/activation.hpp>
#include <graft/layer/add_norm.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>

#include <algorithm>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "support/catch.hpp"
#include "support/emulated_device.hpp"

namespace graft_test::device_memory_tests {

using namespace graft;
using graft::index_t;

namespace {

using B = emulated<bf16>;

constexpr demand passes{true, params::none}, nobody{false, params::none};

std::vector<float> floats(const std::vector<double>& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("a view of 16-bit numbers reads and writes floats, and slices as others do") {
  std::vector<bf16> memory(12);
  const device_view all(memory.data(), 3, 4);
  for (index_t i = 0; i < 3; ++i)
    for (index_t j = 0; j < 4; ++j)
      all.set(i, j, static_cast<float>(10 * i + j));
  const const_device_view middle = all.rows_of(1, 2).columns(1, 2);
  CHECK(middle.rows == 2);
  CHECK(middle.cols == 2);
  CHECK(middle(0, 0) == 11);
  CHECK(middle(1, 1) == 22);
  CHECK(!middle.contiguous());
  CHECK(const_device_view().columns(0, 0).data == nullptr);
  STATIC_REQUIRE(!std::is_convertible_v<const_device_view, device_view>);
}

TEST_CASE("a warp sums and finds the largest, whatever there is to look at") {
  const warp w;
  for (const index_t n : {0, 1, 31, 32, 33, 1000}) {
    CHECK(w.sum(n, [](index_t j) { return static_cast<float>(j); }) ==
          static_cast<float>(n * (n - 1) / 2));
    const float most = w.max(n, [](index_t j) { return static_cast<float>(j % 7); });
    CHECK(most == (n == 0 ? -std::numeric_limits<float>::infinity()
                          : static_cast<float>(n < 7 ? n - 1 : 6)));
    std::vector<int> seen(static_cast<std::size_t>(n));
    w.each(n, [&](index_t j) { ++seen[static_cast<std::size_t>(j)]; });
    CHECK(std::all_of(seen.begin(), seen.end(), [](int k) { return k == 1; }));
  }
}

TEST_CASE("a frozen matrix is brought to the device once, rounded; a row stays as it is") {
  const auto values = std::make_shared<std::vector<float>>(floats({1, 1.001, -2, 1e-3}));
  const B::frozen_weight matrix(values->data(), 2, 2, values), row(values->data(), 1, 4, values);
  const B::frozen_weight copy = matrix;
  const B::const_view on_device = matrix, again = copy, exact = row;
  CHECK(on_device.type == number_type::bf16);
  CHECK(again.data == on_device.data);
  CHECK(B::on_host(on_device) == floats({1, 1, -2, to_float(number_from<bf16>(1e-3f))}));
  CHECK(exact.type == number_type::f32);
  CHECK(B::on_host(exact) == *values);
  CHECK(row.rounded().type == number_type::bf16);
  CHECK(B::on_host(row.rounded()) == B::on_host(on_device));
  CHECK(matrix.rounded().data == on_device.data);
  CHECK(emulated<float>::frozen_weight(values->data(), 1, 4, values).rounded().type == number_type::f32);
  CHECK(B::const_view(B::frozen_weight(3, 5)).data == nullptr);
  CHECK(B::const_view(B::frozen_weight(3, 5)).cols == 5);
}

TEST_CASE("a parameter is zero at first, of floats, and frozen as it is") {
  const B::parameter p(2, 3);
  CHECK(B::const_view(p).type == number_type::f32);
  CHECK(B::on_host(p) == std::vector<float>(6));
  B::from_host(p, floats({1, 2, 3, 4, 5, 6.0001}));
  const B::frozen_weight frozen(p);
  CHECK(B::const_view(frozen).data == p.data);
  CHECK(B::on_host(B::parameter(p.data + 3, 1, 3, p.owner)) == floats({4, 5, 6.0001}));
  CHECK(B::parameter(0, 4).data == nullptr);
  STATIC_REQUIRE(!std::is_convertible_v<decltype(*p.data), float>);
}

TEST_CASE("numbers that lie beside each other are moved as they are one by one") {
  const auto check = [](auto number, auto width) {
    using T = decltype(number);
    constexpr int N = decltype(width)::value;
    for (const index_t cols : {1, 3, 4, 7, 8, 17, 24})
      for (const index_t stride : {cols, cols + 1, cols + 8})
        for (const index_t first : {0, 1, 2, 4, 8}) {
          alignas(16) T memory[128], other[128];
          for (int i = 0; i < 128; ++i)
            memory[i] = other[i] = number_from<T>(static_cast<float>(i) * 1.25f - 70);
          const device_view x(memory + first, 3, cols, stride, number_type_of<T>);
          const device_view y(other + first, 3, cols, stride, x.type);
          constexpr index_t bytes = sizeof(T), at_once = bytes == 4 || N == 8 ? 16 : 8;
          const bool aligned = first * bytes % at_once == 0 && stride * bytes % at_once == 0;
          CHECK(x.in_bunches<N>() == (cols % N == 0 && aligned));
          for (index_t i = 0; i < 3; ++i)
            for (index_t j = 0; j < cols; j += N) {
              auto v = x.load<N>(i, j);
              for (int k = 0; k < N; ++k) {
                CHECK(v[k] == (j + k < cols ? x(i, j + k) : 0.0f));
                v[k] += 1;
              }
              y.store(i, j, v);
            }
          for (int n = 0; n < 128; ++n) {
            const index_t at = n - first, i = at < 0 ? -1 : at / stride;
            const bool inside = i >= 0 && i < 3 && at % stride < cols;
            CHECK(to_float(other[n]) ==
                  (inside ? x.rounded(to_float(memory[n]) + 1) : to_float(memory[n])));
          }
        }
  };
  check(float{}, std::integral_constant<int, 4>{});
  check(bf16{}, std::integral_constant<int, 4>{});
  check(fp16{}, std::integral_constant<int, 4>{});
  check(float{}, std::integral_constant<int, 8>{});
  check(bf16{}, std::integral_constant<int, 8>{});
  check(fp16{}, std::integral_constant<int, 8>{});
}

TEST_CASE("tensors have numbers of 16 bits, exact ones of 32") {
  B::workspace memory;
  {
    const B::tensor x = B::make(memory, 5, 7), stats = B::make_exact(memory, 5, 2);
    CHECK(x.type == number_type::bf16);
    CHECK(stats.type == number_type::f32);
    B::fill(x, 1.001f);
    B::fill(stats, 1.001f);
    CHECK(B::on_host(x) == std::vector<float>(35, 1));
    CHECK(B::on_host(stats) == std::vector<float>(10, 1.001f));
    CHECK(B::on_host(x.columns(2, 3)).size() == 15);
    CHECK(memory.bytes_in_use() == 128 + 64);  // 35 of 2 bytes, 10 of 4, aligned
  }
  CHECK(memory.bytes_in_use() == 0);
}

TEST_CASE("what a norm keeps of its rows is of floats") {
  B::workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  const layer_norm<B> norm(8);
  const B::tensor x = k.make(3, 8);
  B::fill(x, 1);
  layer_norm<B>::cache<demand{true, params::none}> kept;
  norm.forward<demand{true, params::none}>(x, kept, k);
  CHECK(kept.x.type == number_type::bf16);
  CHECK(kept.stats.type == number_type::f32);
}

TEST_CASE("a join with a norm is one operation, which keeps the sum where gradients pass and nothing else") {
  using joined = add_norm<frozen<layer_norm<B>>, at::attention_norm_t>;
  B::workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  const joined join{frozen<layer_norm<B>>(layer_norm<B>(8))};
  STATIC_REQUIRE(requires(B::tensor h, joined::cache<passes> c) {
    join.norm.forward_sum<passes>(h, h, c.norm, k);
  });
  const auto with = [&](float value) {
    B::tensor x = k.make(3, 8);
    B::fill(x, value);
    return x;
  };
  const B::tensor t = with(2);
  joined::cache<passes> kept;
  joined::cache<nobody> none;
  B::tensor h = with(1);
  const void* place = h.data;
  const B::tensor y = join.join<passes>(std::move(h), t, kept, k);
  CHECK(kept.norm.x.data == place);
  CHECK(B::on_host(kept.norm.x) == std::vector<float>(24, 3));
  CHECK(y.data != place);
  h = with(1);
  place = h.data;
  const B::tensor in_place = join.join<nobody>(std::move(h), t, none, k);
  CHECK(in_place.data == place);
  CHECK(B::on_host(in_place) == B::on_host(y));
  const B::tensor shared = with(1);
  CHECK(B::on_host(join.join<nobody>(shared, t, none, k)) == B::on_host(y));
  CHECK(B::on_host(shared) == std::vector<float>(24, 1));
}

TEST_CASE("an activation of a linear map is one operation with it, frozen or trained, and keeps its argument") {
  B::workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  const B::tensor x = k.make(3, 16);
  random_stream rng(5);
  std::vector<float> values(48);
  for (float& v : values)
    v = static_cast<float>(rng.normal());
  B::from_host(x, values);
  linear<B> trained(16, 8);
  trained.initialize_base(rng, 1);
  B::from_host(trained.bias, floats({1, 2, 3, 4, 0.5, -1, -2, 0}));
  const auto check = [&](const auto& map) {
    using L = std::remove_cvref_t<decltype(map)>;
    const activation_layer<B> f{activation::gelu};
    STATIC_REQUIRE(requires(cache_t<L, passes> c, B::tensor* z) {
      map.template forward_activated<passes>(x, activation::gelu, z, c, k);
    });
    cache_t<L, passes> first, second, third;
    activation_layer<B>::cache<passes> kept, kept_apart;
    activation_layer<B>::cache<nobody> none;
    const B::tensor y = f.forward_of<passes, passes>(map, x, first, kept, k);
    const B::tensor alone = f.forward_of<passes, nobody>(map, x, second, none, k);
    const B::tensor apart = f.forward<passes>(map.template forward<passes>(x, third, k), kept_apart, k);
    CHECK(B::on_host(y) == B::on_host(apart));
    CHECK(B::on_host(alone) == B::on_host(apart));
    CHECK(B::on_host(kept.x) == B::on_host(kept_apart.x));
  };
  check(trained);
  check(frozen<linear<B>>(trained));
  check(biases_only<linear<B>>(trained));
  const auto bias = std::make_shared<std::vector<float>>(floats({1, 2, 3, 4, 0.5, -1, -2, 0.001}));
  linear<B, B::frozen_weight> from_file;
  from_file.weight = trained.weight;
  from_file.bias = B::frozen_weight(bias->data(), 1, 8, bias);
  check(from_file);
}

TEST_CASE("a frozen bias is added before the product is rounded") {
  const auto values = std::make_shared<std::vector<float>>(std::vector<float>(602, 1.0f));
  const B::frozen_weight w(values->data(), 2, 301, values);
  const auto biases = std::make_shared<std::vector<float>>(std::vector<float>{0.75f, -301});
  const B::frozen_weight frozen(biases->data(), 1, 2, biases), none(0, 0);
  B::workspace memory;
  const B::tensor x = B::make(memory, 1, 301), y = B::make(memory, 1, 2), exact = B::make_exact(memory, 1, 2);
  B::fill(x, 1);
  B::linear(y, x, w, frozen);  // 301 alone would become 300, and 300.75 too
  CHECK(B::on_host(y) == std::vector<float>{302, 1});
  B::linear(exact, x, w, frozen);
  CHECK(B::on_host(exact) == std::vector<float>{301.75f, 0});
  B::linear(y, x, w, none);
  CHECK(B::on_host(y) == std::vector<float>{300, 300});
}

TEST_CASE("a product of floats into 16 bits, and of both kinds, is summed in floats") {
  const B::parameter a(1, 300), b(1, 300);
  B::from_host(a, std::vector<float>(300, 1.001f));
  B::from_host(b, std::vector<float>(300, 1.0f));
  B::workspace memory;
  const B::tensor y = B::make(memory, 1, 1), x = B::make(memory, 1, 300);
  B::fill(y, 100);
  B::product_nt(y, a, b, 1, true);  // 400.3
  CHECK(B::on_host(y) == std::vector<float>{to_float(number_from<bf16>(400.3f))});
  B::fill(x, 1);
  const B::tensor exact = B::make_exact(memory, 1, 1);
  B::product_nt(exact, x, a, 1, false);  // a as numbers of 16 bits: 1
  CHECK(B::on_host(exact) == std::vector<float>{300});
}

}  // namespace graft_test::device_memory_tests
