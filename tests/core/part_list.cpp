// SPDX-License-Identifier: MIT
#include <graft/core/part_list.hpp>

#include <graft/backend/host.hpp>

#include "support/catch.hpp"

#include <string>
#include <vector>

using namespace graft;

namespace {

struct host_only : host<double> {};
using parameter = host_parameter<double>;
using weight = host_weight<double>;
using paths = std::vector<std::string>;

struct shared_tag {
  static constexpr std::string_view name = "common";
  static constexpr bool shared = true;
};

struct leaf {
  using backend_type = host_only;
  parameter a, bias;
  weight norm;
  int number = 0;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.a...);
    f(at::bias, z.bias...);
    f(at::norm_weight, z.norm...);
  }
  struct gradient {
    parameter a, bias;
    nothing norm;
  };

  decoration_numbers numbers() const { return {{"number", number}}; }
  void renumber(const decoration_numbers& n) { n.take("number", number); }
};

struct frozen_leaf {
  using backend_type = host_only;
  parameter a;
  using gradient = nothing;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::weight, z.a...);
  }
};

// A layer, a vector of layers, a shared one, and one whose name adds nothing to the path.
struct tree {
  using backend_type = host_only;
  static constexpr std::string_view method = "tree";
  leaf query;
  std::vector<leaf> layers;
  frozen_leaf plain;
  leaf common;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.query...);
    f(at::layer, z.layers...);
    f(shared_tag{}, z.common...);
    f(at::base, z.plain...);
  }
  struct gradient {
    leaf::gradient query;
    std::vector<leaf::gradient> layers;
    nothing plain;
    leaf::gradient common;
  };
  void shape(gradient& g) const { g.layers.resize(layers.size()); }

  double penalize(gradient& g) const { return static_cast<double>(g.layers.size()); }
};

leaf sized_leaf(index_t n, index_t biases = 1) { return {{n, n}, {biases, biases * n}, {1, n}}; }
tree small_tree() {
  return {sized_leaf(2), {sized_leaf(3, 0), sized_leaf(4)}, {{5, 5}}, sized_leaf(6)};
}

template <class List>
paths paths_of(const List& list) {
  paths all;
  for (const auto& l : list)
    all.push_back(l.path);
  return all;
}

}  // namespace

TEST_CASE("parameters that have rows are listed in order, with their paths") {
  tree t = small_tree();
  CHECK(paths_of(list_parts(t).parameters) ==
        paths{"query.weight", "query.bias", "query.weight", "layer.0.weight", "layer.0.weight",
              "layer.1.weight", "layer.1.bias", "layer.1.weight", "common.weight", "common.bias",
              "common.weight", "weight"});
}

TEST_CASE("an empty vector of layers has no parameters") {
  tree t{sized_leaf(2), {}, {}, sized_leaf(0, 0)};
  CHECK(list_parts(t).parameters.size() == 4);
}

TEST_CASE("a listed parameter says what it is") {
  tree t = small_tree();
  const auto list = list_parts(t).parameters;
  CHECK(list[0].kind == parameter_kind::weight);
  CHECK(list[1].kind == parameter_kind::bias);
  CHECK(list[2].kind == parameter_kind::norm_weight);
  CHECK(list[0].decays);
  CHECK_FALSE(list[1].decays);
  CHECK(list[1].rows() == 1);
  CHECK(list[1].cols() == 2);
  CHECK(list[0].size() == 4);
  CHECK(list[0].data() == t.query.a.data);
  for (const auto& p : list) {
    CHECK(p.shared == p.path.starts_with("common"));
    CHECK((p.parameter == nullptr) == (p.kind == parameter_kind::norm_weight));
    CHECK((p.weight == nullptr) == (p.parameter != nullptr));
    CHECK(p.trained == (p.parameter && p.path != "weight"));
    CHECK(p.gradient == nullptr);
  }
}

TEST_CASE("what is trained comes with its gradient, which has the shape of the layer") {
  tree t = small_tree();
  tree::gradient g;
  const auto parts = list_parts(t, g);
  CHECK(g.layers.size() == 2);
  for (const auto& p : parts.parameters)
    CHECK(p.trained == (p.gradient != nullptr));
  CHECK(parts.parameters[0].gradient == &g.query.a);
  CHECK(parts.parameters[5].gradient == &g.layers[1].a);
}

TEST_CASE("layers are listed innermost first, with what they may be asked") {
  tree t = small_tree();
  tree::gradient g;
  const auto layers = list_parts(t, g).layers;
  CHECK(paths_of(layers) == paths{"query", "layer.0", "layer.1", "common", "", ""});
  CHECK(layers[0].may->numbers);
  CHECK(layers[0].may->method.empty());
  CHECK_FALSE(layers[0].may->penalize);
  CHECK_FALSE(layers[4].may->numbers);
  CHECK(layers[4].gradient == nullptr);
  CHECK(layers[5].may->method == "tree");
  CHECK_FALSE(layers[5].may->renumber);
  CHECK(layers[5].may->penalize(layers[5].layer, layers[5].gradient, 1) == 2);

  layers[2].may->renumber(layers[2].layer, {{"number", 7}});
  CHECK(t.layers[1].number == 7);
  CHECK(t.layers[0].number == 0);
  CHECK(*layers[2].may->numbers(layers[2].layer).find("number") == 7);
}

TEST_CASE("a layer that must not be written to can be listed") {
  const tree t = small_tree();
  CHECK(list_parts(t).parameters.size() == 12);
  CHECK(list_parts(t).layers.front().layer == &t.query);
}
