// SPDX-License-Identifier: MIT
// model/stack.hpp
#include <graft/backend/cpu.hpp>
#include <graft/layer/linear.hpp>
#include <graft/model/stack.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/lora.hpp>

#include <map>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"

namespace graft_test::stack_tests {

// One linear map at at::query per layer, which notes each visit of backward.
struct plain_config {
  index_t layers;
  std::vector<std::string>* visits = nullptr;
};

template <class Backend, class Scope>
struct noting_block {
  using backend_type = Backend;
  using tensor = typename Backend::tensor;
  using map_type = leaf<Scope, at::query_t, linear<Backend>>;

  map_type map;
  std::vector<std::string>* visits = nullptr;

  noting_block() = default;
  explicit noting_block(const plain_config& c)
      : map(make_leaf<Scope, at::query_t>(linear<Backend>(4, 4))), visits(c.visits) {}

  index_t in() const { return 4; }
  index_t out() const { return 4; }

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::query, z.map...);
  }
  struct mirror {
    gradient_t<map_type> map;
  };
  using gradient = std::conditional_t<trainable<map_type>, mirror, nothing>;
  template <demand D>
  struct cache {
    cache_t<map_type, D> map;
  };
  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<Backend>& k) const {
    return map.template forward<D>(x, c.map, k);
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<Backend>& k) const {
    if (visits)
      visits->push_back(D.input ? "through" : "into");
    return map.template backward<D>(std::move(dy), c.map, part<D>(g, &mirror::map), k);
  }
};

namespace {

using B = cpu<double>;
template <class T>
using stack_of = stack<B, scope<T>, noting_block>;

struct top_trained {
  static constexpr recipe rules{on(at::layer, train{}, top(2))};
};
struct bottom_trained {
  static constexpr recipe rules{on(at::query, train{}, bottom(2))};
};
struct ends_trained {
  static constexpr recipe rules{on(at::query, train{}, bottom(1)),
                                on(at::query, lora{.rank = 2}, top(2)),
                                on(at::query, bottleneck{.width = 2}, top(1))};
};
struct middle_trained {
  static constexpr recipe rules{on(at::query, train{}, bottom(3)),
                                on(at::layer, bottleneck{.width = 2}, top(1)),
                                on(at::query, train{})};
};

// Of two layers both are in the upper run; the run below, trained too, is empty.
struct empty_run_below {
  static constexpr recipe rules{on(at::query, lora{.rank = 1}),
                                on(at::query, bottleneck{.width = 2}, top(2))};
};

// What backward did in each layer, from the top, when only parameters are wanted.
template <class T>
std::vector<std::string> visits(index_t layers) {
  std::vector<std::string> seen;
  stack_of<T> s(plain_config{layers, &seen});
  randomize(s);
  host_workspace memory;
  const layout rows = separate_rows(3);
  const context<B> k{memory, rows};
  auto g = make_gradient(s);
  cache_t<stack_of<T>, parameters_wanted> cache;
  auto y = s.template forward<parameters_wanted>(random_tensor<B>(memory, 3, 4, 1), cache, k);
  s.template backward<parameters_wanted>(std::move(y), cache, &g.gradient, k);
  return seen;
}

using seen = std::vector<std::string>;

template <class T>
void check_stack(index_t layers) {
  INFO(layers << " layers");
  check_layer(stack_of<T>(plain_config{layers}), separate_rows(3), 4);
}

}  // namespace

TEST_CASE("a stack has the gradients of its layers at every depth it can have") {
  for (index_t layers : {1, 2, 4})
    check_stack<everything_trained>(layers);
  for (index_t layers : {2, 3, 5}) {
    check_stack<top_trained>(layers);
    check_stack<bottom_trained>(layers);
  }
  for (index_t layers : {3, 4, 6})
    check_stack<ends_trained>(layers);
  for (index_t layers : {4, 5})
    check_stack<middle_trained>(layers);
  for (index_t layers : {2, 3})
    check_stack<empty_run_below>(layers);
}

TEST_CASE("backward enters the lowest trained layer and none below it") {
  CHECK(visits<everything_trained>(3) == seen{"through", "through", "into"});
  CHECK(visits<top_trained>(5) == seen{"through", "into"});
  CHECK(visits<top_trained>(2) == seen{"through", "into"});
  CHECK(visits<bottom_trained>(4) == seen{"through", "through", "through", "into"});
  CHECK(visits<ends_trained>(4) == seen{"through", "through", "through", "into"});
  CHECK(visits<untuned>(3) == seen{});
}

TEST_CASE("layers below the lowest trained one have an empty cache") {
  using caches = decltype(cache_t<stack_of<top_trained>, parameters_wanted>::of);
  STATIC_REQUIRE(stack_of<top_trained>::runs == 2);
  using below = std::tuple_element_t<0, caches>;
  using above = std::tuple_element_t<1, caches>;
  STATIC_REQUIRE(std::is_trivially_destructible_v<typename decltype(below::above)::value_type>);
  STATIC_REQUIRE(std::is_same_v<decltype(below::floor), nothing>);
  STATIC_REQUIRE(!std::is_trivially_destructible_v<typename decltype(above::above)::value_type>);
  STATIC_REQUIRE(!std::is_same_v<decltype(above::floor), nothing>);
  STATIC_REQUIRE(std::is_same_v<gradient_t<stack_of<untuned>>, nothing>);
}

TEST_CASE("layers are numbered from the bottom through all runs") {
  stack_of<ends_trained> s(plain_config{4});
  std::vector<std::string> paths;
  for (const auto& p : list_parts(s).parameters)
    paths.push_back(p.path);
  CHECK(s.depth() == 4);
  REQUIRE(paths.size() == 4 * 2 + 2 * 2 + 4);
  CHECK(paths.front() == "layer.0.query.weight");
  CHECK(std::count(paths.begin(), paths.end(), "layer.2.query.lora.a") == 1);
  CHECK(std::count(paths.begin(), paths.end(), "layer.1.query.lora.a") == 0);
  std::vector<std::string> trained;
  for (const segment& of : gather(s).segments)
    trained.push_back(of.path);
  CHECK(trained.front() == "layer.0.query.weight");
  CHECK(std::count(trained.begin(), trained.end(), "layer.1.query.weight") == 0);
}

TEST_CASE("a stack shares a type between equal layers") {
  STATIC_REQUIRE(stack_of<everything_trained>::runs == 1);
  STATIC_REQUIRE(stack_of<ends_trained>::runs == 4);
  STATIC_REQUIRE(stack_of<middle_trained>::runs == 3);
}

TEST_CASE("a stack refuses depths that do not fit its layers") {
  CHECK_THROWS_WITH(
      stack_of<top_trained>(plain_config{1}),
      "graft: recipe: rules with bottom(0) and top(2) do not fit a model of 1 layers");
  CHECK_THROWS_AS(stack_of<bottom_trained>(plain_config{1}), error);
  CHECK_THROWS_AS(stack_of<ends_trained>(plain_config{2}), error);
  CHECK_NOTHROW(stack_of<ends_trained>(plain_config{3}));
}

}  // namespace graft_test::stack_tests
