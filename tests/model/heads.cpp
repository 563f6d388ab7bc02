// SPDX-License-Identifier: MIT
// model/heads.hpp, and pooling
#include <graft/backend/cpu.hpp>
#include <graft/backend/reference.hpp>
#include <graft/model/heads.hpp>
#include <graft/tuning/lora.hpp>

#include "support/catch.hpp"
#include "support/gradient_check.hpp"
#include "support/plain_tunings.hpp"
#include "support/small_bert.hpp"

namespace graft_test::heads_tests {

namespace {

struct classifier_trained {
  static constexpr recipe rules{on(at::classifier, train{})};
};
struct dense_updated {
  static constexpr recipe rules{on(at::head_dense, lora{.rank = 2})};
};

// One row per sequence: its first, or the mean of its rows.
template <backend B, bool Mean>
struct pool {
  using backend_type = B;
  using tensor = typename B::tensor;
  using gradient = nothing;

  template <class F, class... Z>
  static void parts(F&&, Z&&...) {}
  template <demand D>
  struct cache {};

  template <demand D>
  tensor forward(const tensor& x, cache<D>&, const context<B>& k) const {
    tensor y = k.make(k.batch.sequences(), x.cols);
    if constexpr (Mean)
      B::pool_mean(y, x, k.batch);
    else
      B::pool_first(y, x, k.batch);
    return y;
  }
  template <demand D, class G>
  auto backward(tensor dy, cache<D>&, G*, const context<B>& k) const {
    if constexpr (D.input) {
      tensor dx = k.make(k.batch.rows(), dy.cols);
      if constexpr (Mean)
        B::pool_mean_backward(dx, dy, k.batch);
      else
        B::pool_first_backward(dx, dy, k.batch);
      return dx;
    } else {
      return nothing{};
    }
  }
};

using B = cpu<double>;
template <class T>
using head = classification_head<B, scope<T>>;

}  // namespace

TEMPLATE_TEST_CASE("pooling has the gradient of its formula", "", cpu<double>, reference<double>) {
  check_layer(pool<TestType, false>{}, sequences({1, 4, 3}), 5);
  check_layer(pool<TestType, true>{}, sequences({1, 4, 3}), 5);
}

TEST_CASE("a map with an activation has the gradients of its formula, and may be absent") {
  using map = dense_activation<linear<B>>;
  check_layer(map{linear<B>(5, 4), {activation::tanh}}, separate_rows(3), 5);
  check_layer(map{linear<B>(0, 0, false), {activation::tanh}}, separate_rows(3), 5);
  using still = dense_activation<frozen<linear<B>>>;
  check_layer(still{frozen(linear<B>(5, 4)), {activation::gelu}}, separate_rows(3), 5);
}

TEST_CASE("a classification head has the gradients of its formula in every family") {
  for (bert_family family : {bert_family::bert, bert_family::roberta, bert_family::distilbert}) {
    const bert_config c = small_bert(family);
    for (bool training : {false, true})
      check_layer(head<everything_trained>(c, 3), separate_rows(4), training);
    check_layer(head<classifier_trained>(c, 3), separate_rows(4), true);
    check_layer(head<untuned>(c, 3), separate_rows(4), true);
    if (family != bert_family::bert)
      check_layer(head<dense_updated>(c, 3), separate_rows(4), true);
  }
}

}  // namespace graft_test::heads_tests
