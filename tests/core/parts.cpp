// SPDX-License-Identifier: MIT
#include <graft/core/parts.hpp>

#include <graft/core/site.hpp>
#include <graft/core/view.hpp>

#include "support/catch.hpp"

#include <memory>
#include <string>
#include <type_traits>
#include <vector>

using namespace graft;

namespace {

struct matrix {
  using value_type = float;
  float* data = nullptr;
  index_t rows = 0, cols = 0;
  std::shared_ptr<void> owner;
};

struct leaf_layer {
  matrix weight, bias;
  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.weight...);
    f(at::bias, z.bias...);
  }
};

// A layer, a vector of layers, and one whose name adds nothing to the path.
struct layer_tree {
  leaf_layer query;
  std::vector<leaf_layer> layers;
  leaf_layer plain;
  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::layer, z.layers...);
    f(at::base, z.plain...);
  }
};
// Of a layer_tree of which only the layers are trained.
struct gradient_of_layer_tree {
  nothing query;
  std::vector<leaf_layer> layers;
  nothing plain;
};

leaf_layer square_layer(index_t n, index_t biases = 1) {
  return {{nullptr, n, n, nullptr}, {nullptr, biases, biases > 0 ? n : 0, nullptr}};
}
layer_tree small_layer_tree() {
  return {square_layer(2), {square_layer(3), square_layer(4)}, square_layer(5)};
}
using paths = std::vector<std::string>;

}  // namespace

TEST_CASE("steps of a path are joined by dots, and empty ones leave no trace") {
  CHECK(detail::joined("", "") == "");
  CHECK(detail::joined("a", "") == "a");
  CHECK(detail::joined("", "b") == "b");
  CHECK(detail::joined("a.b", "c") == "a.b.c");
}

TEST_CASE("layers come innermost first") {
  layer_tree t = small_layer_tree();
  paths found;
  for_each_layer(t, [&](const std::string& path, auto&) { found.push_back(path); });
  CHECK(found == paths{"query", "layer.0", "layer.1", "", ""});
}

TEST_CASE("what a layer does to the layers inside it has the last word") {
  layer_tree t = small_layer_tree();
  for_each_layer(t, [&](const std::string&, auto& layer) {
    if constexpr (requires { layer.query; })
      layer.query.weight.rows = 1;
    else
      layer.weight.rows = 7;
  });
  CHECK(t.query.weight.rows == 1);
  CHECK(t.layers[1].weight.rows == 7);
}

TEST_CASE("layers that are trained come with their gradients, innermost first") {
  layer_tree t = small_layer_tree();
  gradient_of_layer_tree g{{}, {square_layer(3), square_layer(4)}, {}};
  std::vector<index_t> rows;
  for_each_trained_layer(t, g, [&](auto& layer, auto& gradient) {
    if constexpr (requires { layer.weight; })
      rows.push_back(layer.weight.rows);
    STATIC_REQUIRE(!std::is_same_v<decltype(gradient), nothing&>);
  });
  CHECK(rows == std::vector<index_t>{3, 4});
}
