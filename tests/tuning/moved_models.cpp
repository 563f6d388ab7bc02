// SPDX-License-Identifier: MIT
// tuning/moved.hpp in whole models. Between host and GPU: model/gpu_models.cpp.
#include <graft/backend/cpu.hpp>
#include <graft/io/adapter.hpp>
#include <graft/io/peft.hpp>
#include <graft/model/bert_classifier.hpp>
#include <graft/model/merge.hpp>
#include <graft/train/fit.hpp>
#include <graft/tuning/bottleneck.hpp>
#include <graft/tuning/describe.hpp>
#include <graft/tuning/lora.hpp>
#include <graft/tuning/moved.hpp>
#include <graft/tuning/quantize.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>
#include <vector>

#include "static/keeps_nothing.hpp"
#include "support/catch.hpp"
#include "support/distant.hpp"
#include "support/emulated_device.hpp"
#include "support/golden.hpp"
#include "support/learning.hpp"
#include "support/gradient_check.hpp"
#include "support/scratch_folder.hpp"
#include "support/small_bert.hpp"

namespace graft_test::moved_models_tests {

using namespace learning;

namespace {

constexpr lora low_rank{.rank = 2, .alpha = 4, .dropout = 0.1f};
constexpr bottleneck in_line{.width = 3, .dropout = 0.1f};

struct at_home {
  static constexpr recipe rules{on(at::query | at::value, low_rank),
                                on(at::feed_forward, in_line, top(2)), on(at::head, train{})};
};
// LoRA moves with the attention around it, the bottleneck stays around what moved.
template <class To>
struct away {
  static constexpr recipe rules{on(at::query | at::value, low_rank),
                                on(at::attention, moved<To>{}),
                                on(at::feed_forward, moved<To>{}, top(1)),
                                on(at::feed_forward, in_line, top(2)),
                                on(at::head, train{}),
                                on(at::head, moved<To>{})};
};
struct plain_low_rank {
  static constexpr recipe rules{on(at::query | at::value, low_rank), on(at::head, train{})};
};
// … and LoRA stays where the matrices it updates went; the head learns there.
template <class To>
struct matrices_away {
  static constexpr recipe rules{on(at::linear, moved<To>{}), on(at::query | at::value, low_rank),
                                on(at::head, train{}), on(at::head, moved<To>{})};
};
template <class To>
struct top_away {
  static constexpr recipe rules{on(at::layer, moved<To>{}), on(at::query, low_rank, top(1))};
};

}  // namespace

TEST_CASE("a network with moved sites has the gradients of its formula") {
  const bert_config c = small_bert();
  const auto check = [&]<class T>(std::type_identity<T>) {
    bert_classifier_network<cpu<double>, T> network(c, 3);
    prepare(network, 5);
    const token_batch batch = small_batch(c);
    check_network(network, batch, batch.rows, true);
  };
  check(std::type_identity<away<distant>>());
  check(std::type_identity<matrices_away<reference<double>>>());
}

TEST_CASE("a model with moved sites learns the same bits where the backends compute alike") {
  const auto data = texts(15);
  using near = reference<double>;
  auto model = loaded<near, away<distant>>();
  auto other = loaded<near, at_home>();
  CHECK(trained(model) == trained(other));  // drawn alike
  CHECK(losses(model, data) == losses(other, data));
  CHECK(trained(model) == trained(other));
  CHECK(logits(model, data) == logits(other, data));
  auto apart = model.clone();
  losses(apart, data);
  CHECK(logits(model, data) == logits(other, data));
  CHECK(logits(apart, data) != logits(model, data));
  CHECK(describe(model) == describe(other));
}

TEST_CASE("files do not tell which sites were moved") {
  using gpu = emulated<bf16>;
  using host = cpu<float>;
  const auto data = texts(12);
  const scratch_folder folder;
  const auto base = identify_base(golden_path("bert"));
  auto model = loaded<host, matrices_away<gpu>>();
  losses(model, data);
  const auto answers = logits(model, data);
  save_adapter(model, folder / "adapter", base);
  const auto at_home_again =
      load_with_adapter<host, plain_low_rank>(golden_path("bert"), folder / "adapter");
  CHECK(trained(at_home_again) == trained(model));
  CHECK(distance(logits(at_home_again, data), answers) < 4e-2);
  save_adapter(at_home_again, folder / "again", base);
  const auto back =
      load_with_adapter<host, matrices_away<gpu>>(golden_path("bert"), folder / "again");
  CHECK(logits(back, data) == answers);

  save_peft(model, folder / "peft");
  const auto from_peft =
      load_with_adapter<host, plain_low_rank>(golden_path("bert"), folder / "peft");
  CHECK(trained(from_peft) == trained(model));

  const auto there = model.template to<emulated<float>>();
  CHECK(trained(there) == trained(model));
  CHECK(distance(logits(there, data), answers) < 4e-2);
  CHECK(logits(there.template to<host>(), data) == answers);
  CHECK(distance(logits(merge(std::move(model)), data), answers) < 4e-2);
}

TEST_CASE("nothing is kept, and nothing moves back, below the lowest trained part") {
  using network = bert_classifier_network<cpu<double>, top_away<distant>>;
  using layers = stack<cpu<double>, scope<top_away<distant>>, transformer_layer>;
  using low = layers::block<0>;
  STATIC_REQUIRE(std::is_same_v<gradient_t<low>, nothing>);
  STATIC_REQUIRE(keeps_nothing<cache_t<low, parameters_wanted>>);
  const bert_config c = small_bert();
  network n(c, 3);
  prepare(n, 5);
  auto gradient = make_gradient(n);
  const token_batch batch = small_batch(c);
  host_workspace memory;
  const context<cpu<double>> k{memory, batch.rows, true, 3, 1};
  const auto step = [&] {
    cache_t<network, parameters_wanted> cache;
    auto y = n.forward<parameters_wanted>(batch, cache, k);
    const int arrived = distant::arrived, left = distant::left;
    n.backward<parameters_wanted>(std::move(y), cache, &gradient.gradient, k);
    CHECK(distant::arrived - arrived == 1);  // dy of the topmost layer
    CHECK(distant::left - left == 2);        // the gradients of A and B
  };
  step();
  const int arrived = distant::arrived, left = distant::left;
  step();
  CHECK(distant::arrived - arrived == 3 + 1);
  CHECK(distant::left - left == 3 + 2);
}

}  // namespace graft_test::moved_models_tests
