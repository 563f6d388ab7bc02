// SPDX-License-Identifier: MIT
// model/task_heads.hpp
#include <graft/backend/cpu.hpp>
#include <graft/model/task_heads.hpp>
#include <graft/tuning/occupant.hpp>

#include <cmath>
#include <limits>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/small_bert.hpp"

namespace graft_test::task_heads_tests {

namespace {

using B = cpu<double>;

struct trained_head {
  static constexpr recipe rules{on(at::head, train{})};
};
template <class T>
using heads_under = task_heads<B, typename scope<T>::template enter<at::head_t>>;

// The heads with 0 where they give −∞: what finite differences can do with.
template <class Heads>
struct without_infinities {
  using backend_type = B;
  using tensor = B::tensor;
  Heads heads;

  template <class F, class... Z>
  static void parts(F&& f, Z&&... z) {
    f(at::base, z.heads...);
  }
  struct mirror {
    gradient_t<Heads> heads;
  };
  using gradient = std::conditional_t<trainable<Heads>, mirror, nothing>;
  template <demand D>
  struct cache {
    cache_t<Heads, D> heads;
  };
  template <demand D>
  tensor forward(const tensor& x, cache<D>& c, const context<B>& k) const {
    tensor y = heads.template forward<D>(x, c.heads, k);
    for (index_t i = 0; i < y.size(); ++i)
      if (std::isinf(y.data[i]))
        y.data[i] = 0;
    return y;
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>& c, G* g, const context<B>& k) const {
    return heads.template backward<D>(std::move(dy), c.heads, part<D>(g, &mirror::heads), k);
  }
};

layout of_tasks(std::vector<std::uint32_t> tasks) {
  layout rows;
  for (std::size_t i = 0; i < tasks.size(); ++i)
    rows.append(1, static_cast<std::uint32_t>(i), tasks[i]);
  return rows;
}

template <class T>
auto heads(bert_family family) {
  heads_under<T> h(small_bert(family), {2, 3, 1});
  randomize(h);
  return h;
}

}  // namespace

TEST_CASE("heads of several tasks have the gradients of their formulas") {
  for (const bert_family family :
       {bert_family::bert, bert_family::roberta, bert_family::distilbert})
    for (const auto& tasks :
         {std::vector<std::uint32_t>{1, 0, 1, 2, 0}, std::vector<std::uint32_t>{2, 2, 2}}) {
      const layout rows = of_tasks(tasks);
      using trained = heads_under<trained_head>;
      using frozen = heads_under<untuned>;
      check_layer(without_infinities<trained>{heads<trained_head>(family)}, rows, 8, true);
      check_layer(without_infinities<frozen>{heads<untuned>(family)}, rows, 8, true);
    }
}

TEST_CASE("a row has the logits of its task's head, and cannot be of another's classes") {
  const auto h = heads<trained_head>(bert_family::roberta);
  CHECK(h.out() == 6);
  host_workspace memory;
  const layout rows = of_tasks({2, 0, 1, 0});
  const context<B> k{memory, rows};
  auto x = B::make(memory, 4, 8);
  random_stream random(5);
  for (index_t i = 0; i < x.size(); ++i)
    x.data[i] = random.normal();
  cache_t<heads_under<trained_head>, nothing_wanted> none;
  const auto y = h.forward<nothing_wanted>(x, none, k);
  const index_t first[] = {0, 2, 5};
  for (index_t i = 0; i < 4; ++i) {
    const std::size_t task = rows.task(i);
    const layout alone = separate_rows(1);
    cache_t<heads_under<trained_head>::head_type, nothing_wanted> of_one;
    const auto expected =
        h.heads[task].forward<nothing_wanted>(k.copy(x.rows_of(i, 1)), of_one, k.with(alone));
    for (index_t c = 0; c < 6; ++c) {
      const index_t own = c - first[task];
      if (own >= 0 && own < expected.cols)
        CHECK(std::abs(y(i, c) - expected(0, own)) < 1e-14);  // beside other rows sums have another order
      else
        CHECK(y(i, c) == -std::numeric_limits<double>::infinity());
    }
  }
}

TEST_CASE("a sequence of a task without a head is refused") {
  const auto h = heads<trained_head>(bert_family::bert);
  host_workspace memory;
  const layout rows = of_tasks({0, 3});
  auto x = B::make(memory, 2, 8);
  B::fill(x, 1);
  cache_t<heads_under<trained_head>, nothing_wanted> none;
  CHECK_THROWS_WITH(h.forward<nothing_wanted>(x, none, context<B>{memory, rows}),
                    Catch::Matchers::Contains(
                        "task_heads: expected sequences of tasks below 3, found one of task 3"));
}

TEST_CASE("heads that are frozen have no gradient") {
  STATIC_REQUIRE(std::is_same_v<gradient_t<heads_under<untuned>>, nothing>);
  STATIC_REQUIRE_FALSE(std::is_same_v<gradient_t<heads_under<trained_head>>, nothing>);
}

}  // namespace graft_test::task_heads_tests
