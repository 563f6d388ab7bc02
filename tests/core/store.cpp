// SPDX-License-Identifier: MIT
#include <graft/core/store.hpp>

#include <graft/backend/reference.hpp>
#include <graft/layer/layer_norm.hpp>
#include <graft/layer/linear.hpp>
#include <graft/tuning/frozen.hpp>

#include "support/catch.hpp"

#include <string>
#include <vector>

using namespace graft;
using B = reference<float>;

namespace {

// Two trained layers, a frozen one between them, and a vector whose gradient must be given a
// length.
struct network {
  using backend_type = B;
  linear<B> query{3, 5};
  frozen<linear<B>> key{linear<B>(3, 5)};
  std::vector<layer_norm<B>> layers;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::key, z.key...);
    f(at::layer, z.layers...);
  }
  struct gradient {
    gradient_t<linear<B>> query;
    nothing key;
    std::vector<gradient_t<layer_norm<B>>> layers;
  };
  void shape(gradient& g) const { g.layers.resize(layers.size()); }
};

network filled() {
  network n;
  n.layers.assign(2, layer_norm<B>());
  for (auto& l : n.layers)
    l = layer_norm<B>(4);
  float next = 1;
  for (const auto& p : list_parts(n).parameters)
    if (p.trained)
      for (index_t i = 0; i < p.size(); ++i)
        p.parameter->data[i] = next++;
  return n;
}

}  // namespace

TEST_CASE("the segments of a store name every trained parameter and no frozen one") {
  network n = filled();
  const parameter_store<B> store = gather(n);
  std::vector<std::string> paths;
  for (const segment& s : store.segments)
    paths.push_back(s.path);
  CHECK(paths == std::vector<std::string>{"query.weight", "query.bias", "layer.0.weight",
                                          "layer.0.bias", "layer.1.weight", "layer.1.bias"});
  CHECK(store.count() == 15 + 5 + 4 * 4);
}

TEST_CASE("segments are aligned, apart, and cover the store") {
  network n = filled();
  const parameter_store<B> store = gather(n);
  index_t end = 0;
  for (const segment& s : store.segments) {
    CHECK(s.offset % segment_alignment == 0);
    CHECK(s.offset >= end);
    CHECK(s.offset - end < segment_alignment);
    end = s.offset + s.size();
  }
  CHECK(store.size() >= end);
  CHECK(store.size() - end < segment_alignment);
}

TEST_CASE("decay acts on weights, not on biases and norms") {
  network n = filled();
  for (const segment& s : gather(n).segments)
    CHECK(s.decays == (s.path == "query.weight"));
}

TEST_CASE("gathered parameters keep their values and become pieces of the store") {
  network n = filled();
  const parameter_store<B> store = gather(n);
  float next = 1;
  for (const segment& s : store.segments)
    for (index_t i = 0; i < s.size(); ++i)
      REQUIRE(store.values.data[s.offset + i] == next++);
  CHECK(n.query.weight.data == store.values.data + store.segments[0].offset);
  CHECK(n.query.weight.rows == 5);
  CHECK(n.query.weight.cols == 3);
  store.values.data[store.segments[1].offset] = -1;
  CHECK(n.query.bias.data[0] == -1);
}

TEST_CASE("what lies between segments is zero") {
  network n = filled();
  const parameter_store<B> store = gather(n);
  std::vector<char> named(static_cast<std::size_t>(store.size()));
  for (const segment& s : store.segments)
    for (index_t i = 0; i < s.size(); ++i)
      named[static_cast<std::size_t>(s.offset + i)] = 1;
  for (index_t i = 0; i < store.size(); ++i)
    if (!named[static_cast<std::size_t>(i)])
      REQUIRE(store.values.data[i] == 0);
}

TEST_CASE("parameters outlive the store they were gathered in") {
  network n = filled();
  { const parameter_store<B> store = gather(n); }
  CHECK(n.query.weight.data[0] == 1);
}

TEST_CASE("gathering twice gives an equal store") {
  network n = filled();
  const parameter_store<B> first = gather(n), second = gather(n);
  REQUIRE(first.size() == second.size());
  CHECK(first.values.data != second.values.data);
  for (index_t i = 0; i < first.size(); ++i)
    REQUIRE(first.values.data[i] == second.values.data[i]);
}

TEST_CASE("a gradient has the store's shape, zero at first, and knows the length of vectors") {
  network n = filled();
  const parameter_store<B> store = gather(n);
  gradient_buffer<network> g = make_gradient(n, store);
  REQUIRE(g.values.cols == store.size());
  for (index_t i = 0; i < g.values.cols; ++i)
    REQUIRE(g.values.data[i] == 0);
  REQUIRE(g.gradient.layers.size() == 2);
  CHECK(g.gradient.query.weight.data == g.values.data + store.segments[0].offset);
  CHECK(g.gradient.layers[1].bias.data == g.values.data + store.segments[5].offset);
  CHECK(g.gradient.query.weight.rows == 5);
  CHECK(g.gradient.query.weight.cols == 3);
}

TEST_CASE("a cleared gradient is zero again") {
  network n = filled();
  gradient_buffer<network> g = make_gradient(n);
  g.gradient.query.bias.data[2] = 3;
  g.clear();
  CHECK(g.gradient.query.bias.data[2] == 0);
}

TEST_CASE("a frozen layer has an empty store and an empty gradient") {
  frozen<linear<B>> l{linear<B>(2, 2)};
  const parameter_store<B> store = gather(l);
  CHECK(store.size() == 0);
  CHECK(store.count() == 0);
  CHECK(store.segments.empty());
  gradient_buffer<frozen<linear<B>>> g = make_gradient(l, store);
  g.clear();
  CHECK(g.values.size() == 0);
}

namespace {

// Two layers that have one matrix in common and one each.
struct common_t {
  static constexpr std::string_view name = "common";
  static constexpr bool decays = true;
  static constexpr bool shared = true;
};
struct half {
  using backend_type = B;
  B::parameter common{2, 3}, own{1, 3};
  using gradient = half;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(common_t{}, z.common...);
    f(at::bias, z.own...);
  }
  template <class F>
  void rate_factors(F&& f) const {
    f(at::bias, 16);
  }
};
struct two_halves {
  using backend_type = B;
  half query, key;
  using gradient = two_halves;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::key, z.key...);
  }
};

}  // namespace

TEST_CASE("parameters that layers share are one segment, with the values of the first") {
  two_halves n;
  B::fill(n.query.common, 1);
  B::fill(n.key.common, 2);
  const parameter_store<B> store = gather(n);
  std::vector<std::string> paths;
  for (const segment& s : store.segments)
    paths.push_back(s.path);
  CHECK(paths == std::vector<std::string>{"common", "query.bias", "key.bias"});
  CHECK(store.count() == 6 + 3 + 3);
  CHECK(n.query.common.data == n.key.common.data);
  CHECK(n.key.common(0, 0) == 1);

  auto g = make_gradient(n, store);
  CHECK(g.gradient.query.common.data == g.gradient.key.common.data);
  CHECK(g.gradient.query.own.data != g.gradient.key.own.data);

  two_halves unequal;
  unequal.key.common = B::parameter(2, 4);
  CHECK_THROWS_WITH(gather(unequal), "graft: common: columns: expected 3, found 4");
}

TEST_CASE("a layer may train some of its parameters at another rate") {
  two_halves n;
  const parameter_store<B> store = gather(n);
  for (const segment& s : store.segments)
    CHECK(s.rate_factor == (s.path == "common" ? 1 : 16));
}
