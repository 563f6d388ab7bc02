// SPDX-License-Identifier: MIT
#include <graft/core/parts.hpp>

#include <graft/core/site.hpp>
#include <graft/core/view.hpp>

#include "support/catch.hpp"

#include <memory>
#include <string>
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

struct weight_only {
  matrix weight;
  nothing bias;
};

// A layer, a vector of layers, and one whose name adds nothing to the path.
struct tree {
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
struct tree_gradient {
  weight_only query;
  std::vector<leaf_layer> layers;
  nothing plain;
};

leaf_layer sized(index_t n, index_t biases = 1) {
  return {{nullptr, n, n, nullptr}, {nullptr, biases, biases > 0 ? n : 0, nullptr}};
}
tree small_tree() { return {sized(2), {sized(3), sized(4)}, sized(5)}; }

using paths = std::vector<std::string>;

template <class L>
paths parameters_of(L& layer, const std::string& from = "") {
  paths found;
  for_each_parameter(
      layer, [&](const std::string& path, auto, auto&) { found.push_back(path); }, from);
  return found;
}

}  // namespace

TEST_CASE("steps of a path are joined by dots, and empty ones leave no trace") {
  CHECK(detail::joined("", "") == "");
  CHECK(detail::joined("a", "") == "a");
  CHECK(detail::joined("", "b") == "b");
  CHECK(detail::joined("a.b", "c") == "a.b.c");
}

TEST_CASE("parameters come in the order of the listing with their paths") {
  tree t = small_tree();
  CHECK(parameters_of(t) == paths{"query.weight", "query.bias", "layer.0.weight", "layer.0.bias",
                                  "layer.1.weight", "layer.1.bias", "weight", "bias"});
}

TEST_CASE("a walk may begin at a path") {
  leaf_layer l = sized(2);
  CHECK(parameters_of(l, "head") == paths{"head.weight", "head.bias"});
}

TEST_CASE("a parameter without rows is absent") {
  leaf_layer l = sized(2, 0);
  CHECK(parameters_of(l) == paths{"weight"});
}

TEST_CASE("an empty vector of layers has no parameters") {
  tree t{sized(2), {}, sized(0, 0)};
  CHECK(parameters_of(t) == paths{"query.weight", "query.bias"});
}

TEST_CASE("a constant layer can be walked") {
  const tree t = small_tree();
  CHECK(parameters_of(t).size() == 8);
}

TEST_CASE("what nothing mirrors is passed over") {
  tree t = small_tree();
  tree_gradient g{{}, {sized(3), sized(4)}, {}};
  paths found;
  for_each_trained(t, g,
                   [&](const std::string& path, auto, auto&, auto&) { found.push_back(path); });
  CHECK(found ==
        paths{"query.weight", "layer.0.weight", "layer.0.bias", "layer.1.weight", "layer.1.bias"});
}

TEST_CASE("each parameter comes with its own mirror and tag") {
  tree t = small_tree();
  tree_gradient g{{{nullptr, 2, 2, nullptr}, {}}, {sized(3), sized(4)}, {}};
  for_each_trained(t, g, [&](const std::string& path, auto tag, auto& p, auto& mirror) {
    CHECK(p.rows == mirror.rows);
    CHECK(tag.decays == path.ends_with("weight"));
  });
}

TEST_CASE("nothing at the root is nothing to walk") {
  tree t = small_tree();
  nothing g;
  int found = 0;
  for_each_trained(t, g, [&](const std::string&, auto, auto&, auto&) { ++found; });
  CHECK(found == 0);
}

TEST_CASE("layers come innermost first") {
  tree t = small_tree();
  paths found;
  for_each_layer(t, [&](const std::string& path, auto&) { found.push_back(path); });
  CHECK(found == paths{"query", "layer.0", "layer.1", "", ""});
}

TEST_CASE("what a layer does to the layers inside it has the last word") {
  tree t = small_tree();
  for_each_layer(t, [&](const std::string&, auto& layer) {
    if constexpr (requires { layer.query; })
      layer.query.weight.rows = 1;
    else
      layer.weight.rows = 7;
  });
  CHECK(t.query.weight.rows == 1);
  CHECK(t.layers[1].weight.rows == 7);
}

TEST_CASE("a walk changes the layer it was given") {
  leaf_layer l = sized(2);
  for_each_parameter(l, [](const std::string&, auto, auto& p) { p.rows = 9; });
  CHECK(l.weight.rows == 9);
  CHECK(l.bias.rows == 9);
}
